"""fio as the client of a volume: it writes with checksums, and reads them back."""

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from waiting import wait_until

# Seconds. Far more than any event here takes; fio ends when it is interrupted.
_MOST_SECONDS = 120
# Seconds in which fio goes on behind the event, so that it reads there what it wrote before.
_AFTERWARDS_SECONDS = 2


def verify_meanwhile(uri: str, size: str, happens: Callable[[], None]) -> None:
    """Write and verify `size` of a volume at 512 MiB until the event has happened, and a little longer; prints the worst
    latency. AssertionError for bytes that are wrong, an error, or a fio that has ended before.

    The event begins when fio has connected, twice: else it may be over before fio has written a byte.
    """
    with tempfile.TemporaryDirectory() as folder:
        connected = Path(folder) / "connected"
        argv = ["fio", "--name=w", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=8",
                "--offset=512M", f"--size={size}", "--verify=crc32c", "--verify_backlog=512", "--verify_state_save=0",
                "--time_based", f"--runtime={_MOST_SECONDS}", f"--exec_prerun=touch {connected}",
                "--output-format=json"]  # fmt: skip
        _watch(argv, connected, happens)


def _watch(argv: list[str], connected: Path, happens: Callable[[], None]) -> None:
    pipe, beside = subprocess.PIPE, connected.parent  # where fio writes the output of its prerun command
    with subprocess.Popen(argv, cwd=beside, stdout=pipe, stderr=pipe, text=True) as fio:
        try:
            wait_until(lambda: connected.exists() or fio.poll() is not None, 30)
            happens()
            time.sleep(_AFTERWARDS_SECONDS)
        finally:
            ended = fio.poll()
            fio.send_signal(signal.SIGINT)
        out, words = fio.communicate(timeout=60)
    assert ended is None, f"fio ended before the event did: {words}"
    job = json.loads(out[out.index("{") :])["jobs"][0]
    print(f"writes: {job['write']['total_ios']}, the worst took {job['write']['clat_ns']['max'] / 1e6:.0f} ms")
    assert (job["error"], fio.returncode) == (0, 128), words
