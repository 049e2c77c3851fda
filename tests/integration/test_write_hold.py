"""An export whose writers are held: by whom they go on, and what the release says."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbd
import pytest
from exporting import Exports
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.exporter import HoldingExporter

HOLDER = """
import sys, time
from pathlib import Path
from nbdsvc.exports.nbd.holds import Holds
holds = Holds()
holds._root = Path(sys.argv[1])
hold = holds.hold_writes(sys.argv[2], 60)
print("held", flush=True)
time.sleep(60)
"""


def waits(uri: str) -> Callable[[], float | None]:
    """A write that begins now; its seconds once it has ended."""
    client = nbd.NBD()
    client.connect_uri(uri)
    began, ended = time.monotonic(), []

    def write() -> None:
        client.pwrite(b"w", 0)
        ended.append(time.monotonic() - began)

    threading.Thread(target=write, daemon=True).start()
    return lambda: ended[0] if ended else None


def test_a_hold_ends_by_its_release_and_by_its_deadline(exports: Exports) -> None:
    """Readers go on meanwhile. A second hold is refused; after the deadline, the release says that it was not held."""
    spec, uri = exports.up()
    hold = exports.exporter.hold_writes(spec.id, 20)
    write = waits(uri)
    client = nbd.NBD()
    client.connect_uri(uri)
    assert client.pread(1, 0) == b"\0"
    with pytest.raises(errors.ExportFailed, match="held already"):
        exports.exporter.hold_writes(spec.id, 20)
    assert write() is None
    assert (hold.release(), hold.release()) == (True, True)
    wait_until(lambda: write() is not None, 10)
    hold = exports.exporter.hold_writes(spec.id, 0.3)
    write = waits(uri)
    wait_until(lambda: write() is not None, 10)
    assert not hold.release()
    again = exports.exporter.hold_writes(spec.id, 20)
    assert again.release()


def test_a_hold_ends_with_its_process_and_with_its_server(exports: Exports) -> None:
    """Killed while it holds; the other way round, a server that was killed does not say that it has held."""
    spec, uri = exports.up()
    argv = [sys.executable, "-c", HOLDER, str(exports.folder / "e"), spec.id]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        write = waits(uri)
        time.sleep(0.1)
        assert write() is None
        holder.send_signal(signal.SIGKILL)
        wait_until(lambda: write() is not None, 10)
    hold = exports.exporter.hold_writes(spec.id, 20)
    server = next(pid for pid in _children(exports.pid(spec)))
    os.kill(server, signal.SIGKILL)
    assert not hold.release()
    assert isinstance(exports.exporter, HoldingExporter)


def _children(pid: int | None) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_no_mirror_begins_while_writers_are_held(exports: Exports) -> None:
    """A mirror opens the gate when it is there, and would let writers go on."""
    spec, _uri = exports.up()
    hold = exports.exporter.hold_writes(spec.id, 20)
    with pytest.raises(errors.ExportFailed, match="held already"):
        exports.exporter.start_mirror(spec.id, spec.location, is_zero=False)
    assert exports.exporter.mirror_state(spec.id).state == "none"
    assert hold.release()
