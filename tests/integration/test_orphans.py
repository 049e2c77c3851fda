"""Programs that a killed service leaves behind, and the service that comes after it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from nbdsvc import process
from nbdsvc.model import names
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.client import Operations
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.locks import FileLocks
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import migrate
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database

# The program closes inherited descriptors, as LVM does, and works until it is killed.
PROGRAM = """
import os, pathlib, sys, time
os.closerange(3, 1024)
folder = pathlib.Path(sys.argv[1])
(folder / "begun").touch()
for _ in range(1200):
    if (folder / "release").exists():
        break
    time.sleep(0.05)
(folder / "ended").touch()
"""
SERVICE = """
import sys, pathlib, threading
sys.path[:0] = sys.argv[2:]
from test_orphans import engine
engine(pathlib.Path(sys.argv[1])).start()
threading.Event().wait()
"""


def engine(folder: Path) -> Engine:
    """The engine of a host whose one step runs the program, unless that has run."""

    def run_program(run: Run[Any]) -> str:
        if (folder / "begun").exists():
            return "ended" if (folder / "ended").exists() else "beside the first one"
        process.Runner().run([sys.executable, "-c", PROGRAM, str(folder)])
        return "by the first service"

    def end(*_: object) -> None:
        """There are no rows."""

    made = OperationType("k", dict, (Step("program", run_program),), lambda _args: (), end, end, modifies=False)
    return Engine(Database(str(folder / "db")), "me", {"k": made}, None, folder / "locks", poll_seconds=0.05)


def test_a_program_of_a_killed_service_keeps_its_locks(tmp_path: Path) -> None:
    """The step that is run again waits for the program that a SIGKILL of the service left running, also if it closes files."""
    database = Database(str(tmp_path / "db"))
    migrate.upgrade(database)
    operation = Operation(names.new_id(), "k", "me", "p", "volume", names.new_id(), {}, [Lock("v").to_json()])
    with database.write() as conn:
        journal.insert(conn, operation)
    here = Path(__file__).parent
    service = subprocess.Popen([sys.executable, "-c", SERVICE, tmp_path, here, here.parent / "support"])
    try:
        wait_until((tmp_path / "begun").exists, 30)
        service.kill()
        service.wait(10)
        assert _is_held(tmp_path / "locks")
        second = engine(tmp_path)
        second.start()
        threading.Timer(0.2, (tmp_path / "release").touch).start()
        ended = Operations(database, second).wait(operation.id, 30)
        second.stop()
    finally:
        service.kill()
        (tmp_path / "release").touch()
    assert ended.results == {"program": "ended"}


def _is_held(folder: Path) -> bool:
    def refuse() -> None:
        raise BlockingIOError

    locks = FileLocks(folder)
    try:
        with locks.hold([Lock("v")], refuse):
            return False
    except BlockingIOError:
        return True


def test_the_end_of_a_program_is_told_through_its_holder(tmp_path: Path) -> None:
    """Output and exit status of a program that holds locks are those of the program itself."""
    file = (tmp_path / "lock").open("w")
    with process.locks_held_by_children((file.fileno(),)):
        assert process.Runner().run(["sh", "-c", "echo out"]).stdout == "out\n"
        with pytest.raises(process.errors.CommandFailed) as caught:
            process.Runner(tries=1).run(["sh", "-c", "echo why >&2; exit 5"])
    assert (caught.value.rc, caught.value.stderr) == (5, "why")


def test_a_server_that_is_left_gets_no_lock(tmp_path: Path) -> None:
    """A program that starts a server which stays, as an export's is, keeps no step waiting."""
    locks = FileLocks(tmp_path / "locks")
    with locks.hold([Lock("v")], lambda: None) as fds, process.locks_held_by_children(fds):
        command = "sleep 60 >/dev/null 2>&1 & echo $!"
        server = int(process.Runner().run(["sh", "-c", command], leaves_server=True).stdout)
    try:
        assert not _is_held(tmp_path / "locks")
    finally:
        os.kill(server, signal.SIGKILL)
