"""Copies killed at random instants. 40 kills, or as many as NBDSVC_KILLS says."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from images import MiB

KILLS = int(os.environ.get("NBDSVC_KILLS", "40"))
SIZE = 240 * MiB
# Slow enough that there is a middle to be killed in, fast enough for several checkpoints.
RATE = 350 * MiB
KILLS_A_COPY = 4

_CHILD = """
import sys
from pathlib import Path
from nbdsvc.datapath import source
from nbdsvc.datapath.copy import copy
from nbdsvc.datapath.rate_limit import Limit
from nbdsvc.location import Location
folder = Path(sys.argv[1])
with source.open_path(folder / "source") as opened:
    print("go", flush=True)
    result = copy(opened, Location.file(folder / "target"), journal=folder / "journal", fingerprint=b"f", limits=[Limit(int(sys.argv[2]))])
print(result.data, result.skipped, result.size)
"""


def start(folder: Path, rate: int) -> "subprocess.Popen[str]":
    child = subprocess.Popen([sys.executable, "-c", _CHILD, folder, str(rate)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdout.readline() == "go\n"
    return child


def written(child: "subprocess.Popen[str]") -> int:
    """Bytes that the process has written so far; the journal's few among them (wchar, proc(5))."""
    lines = Path(f"/proc/{child.pid}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).split()[1])


@pytest.mark.row("S074")
@pytest.mark.timeout(900)
def test_killed_copies_resume_bit_identical(tmp_path: Path) -> None:
    """SIGKILL at random instants, several times a copy: its bytes are the source's in the end, and no kill costs more
    than the work since the last checkpoint."""
    dice = random.Random(5)
    content = dice.randbytes(SIZE // 8) * 8
    (tmp_path / "source").write_bytes(content)
    target, kills, twice, resumed, worst = tmp_path / "target", 0, 0, 0, 0
    while kills < KILLS:
        target.write_bytes(b"")
        os.truncate(target, SIZE)
        (tmp_path / "journal").unlink(missing_ok=True)
        runs = []
        for _ in range(KILLS_A_COPY):
            child = start(tmp_path, RATE)
            before = written(child)
            time.sleep(dice.uniform(0, 0.7))
            os.kill(child.pid, signal.SIGSTOP)  # os.kill, because send_signal would reap a child that has ended
            runs.append(written(child) - before)
            os.kill(child.pid, signal.SIGKILL)
            kills += child.wait() == -signal.SIGKILL
        last = start(tmp_path, 0)
        data, skipped, _size = map(int, last.communicate()[0].split())
        assert last.returncode == 0
        assert target.read_bytes() == content
        again = sum(runs) + data - SIZE
        twice, resumed, worst = twice + again, resumed + skipped, max(worst, again)
    print(
        f"{kills} kills in {kills // KILLS_A_COPY} copies of {SIZE >> 20} MiB: {twice >> 20} MiB copied twice, "
        f"{twice / kills / MiB:.0f} MiB a kill; at most {worst >> 20} MiB in one copy; {resumed >> 20} MiB not again"
    )
    # Half a second of work at the limit, a burst, and what a stopped process had in flight; twice that for a busy machine.
    assert twice / kills < RATE
    assert resumed > 0
