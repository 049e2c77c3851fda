"""The engine on both databases: order, locks, undo, cancel, deadlines, resumption."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from postgres import Postgres
from untyped_operations import Run, Step, untyped

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.client import Operations
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.execution import UNDO_PAUSES
from nbdsvc.operations.locks import FileLocks
from nbdsvc.operations.operation_type import OperationType
from nbdsvc.store import migrate, tables, transitions
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener


class Stage:
    """An engine whose operation types the test gives, and what their steps did."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.did: list[str] = []
        self.types: dict[str, OperationType[Any]] = {}
        self.engine: Engine | None = None

    def kind(self, name: str, *steps: tuple[str, Callable[[Run], Any], Callable[[Run], None] | None]) -> None:
        made = tuple(Step(step, do, undo) for step, do, undo in steps)
        ended: Callable[..., None] = lambda _conn, operation, *_error: self.did.append(f"end {operation.state}")  # noqa: E731
        self.types[name] = untyped(name, made, ended, ended)

    def start(self) -> Operations:
        self.engine = Engine(self.database, "me", self.types, None, self.folder / "locks", poll_seconds=0.05)
        self.engine.start()
        return Operations(self.database, self.engine)

    def stop(self) -> None:
        if self.engine:
            self.engine.stop()

    def submit(self, kind: str, *locks: Lock, **given: Any) -> str:
        operation = Operation(
            names.new_id(), kind, "me", "p", "volume", names.new_id(), {}, [lock.to_json() for lock in locks], **given
        )
        with self.database.write() as conn:
            journal.insert(conn, operation)
        return operation.id


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(database, tmp_path)
    yield made
    made.stop()


def test_an_operation_that_an_older_version_submitted(stage: Stage) -> None:
    """Its row does not say where it is, because that version knows no steps on other hosts: it runs to its end at home."""
    stage.kind("k", ("one", lambda r: stage.did.append("do 1"), None))
    id = stage.submit("k")
    with stage.database.write() as conn:
        conn.execute(
            tables.operations.update().where(tables.operations.c.id == id).values(step_host="", step_backend="")
        )
    stage.start().wait(id, 10)
    assert stage.did == ["do 1", "end succeeded"]


def test_a_failure_undoes_backwards_and_says_why(stage: Stage) -> None:
    """The third step fails: its undo and those before it run backwards; the reason is in the journal."""

    def fail(_run: Run) -> None:
        raise errors.BackendUnavailable(backend="b", reason="on fire")

    note = stage.did.append
    stage.kind("k", ("one", lambda r: note("do 1"), lambda r: note("undo 1")),
               ("two", lambda r: note("do 2"), None), ("three", fail, lambda r: note("undo 3")))  # fmt: skip
    operations = stage.start()
    with pytest.raises(errors.BackendUnavailable, match="on fire"):
        operations.wait(stage.submit("k"), 10)
    assert stage.did == ["do 1", "do 2", "undo 3", "undo 1", "end failed"]


def test_each_runs_once_however_often_the_engine_looks(stage: Stage) -> None:
    """What ends between the list of what is unfinished and the look at it is not run a second time."""
    did: list[str] = []
    stage.kind("k", ("one", lambda run: did.append(run.id), None))
    operations, ended = stage.start(), threading.Event()

    def wake() -> None:
        while not ended.is_set():
            operations.wake()

    waker = threading.Thread(target=wake)
    waker.start()
    try:
        submitted = [stage.submit("k") for _ in range(150)]
        for id in submitted:
            operations.wait(id, 20)
    finally:
        ended.set()
        waker.join()
    stage.stop()
    assert sorted(did) == sorted(submitted)
    assert stage.did == ["end succeeded"] * len(submitted)


def test_a_failed_undo_is_a_visible_state(stage: Stage) -> None:
    """Both reasons are kept, and the other undos still run."""

    def fail(_run: Run) -> None:
        raise errors.DeviceBusy(device="d", reason="held")

    stage.kind("k", ("one", lambda r: None, lambda r: stage.did.append("undo 1")), ("two", fail, fail))
    with pytest.raises(errors.RollbackFailed, match="held") as caught:
        stage.start().wait(id := stage.submit("k"), 20)
    assert (caught.value.step, caught.value.operation) == ("two", id)
    assert stage.did == ["undo 1", "end rollback_failed"]


def test_the_failure_of_an_undo_is_stored_at_once(stage: Stage) -> None:
    """After its last run nothing is waited for: the operation ends sooner than another pause would."""
    failed: list[float] = []

    def fail(_run: Run) -> None:
        failed.append(time.monotonic())
        raise errors.DeviceBusy(device="d", reason="held")

    stage.kind("k", ("one", fail, fail))
    with pytest.raises(errors.RollbackFailed):
        stage.start().wait(stage.submit("k"), 20)
    assert len(failed) == 1 + 1 + len(UNDO_PAUSES)
    assert time.monotonic() - failed[-1] < 3


def test_cancel_ends_in_undo(stage: Stage) -> None:
    """A cancel is seen by the running step at once and ends in undo."""
    begun = threading.Event()

    def wait(run: Run) -> None:
        begun.set()
        while True:
            run.raise_if_stopped()
            time.sleep(0.01)

    stage.kind("k", ("wait", wait, lambda r: stage.did.append("undo")))
    operations = stage.start()
    id = stage.submit("k")
    assert begun.wait(10)
    with stage.database.write() as conn:
        operations.cancel(conn, id)
    operations.cancelled(id)
    with pytest.raises(errors.Cancelled):
        operations.wait(id, 10)
    assert stage.did == ["undo", "end cancelled"]
    with pytest.raises(errors.InvalidState), stage.database.write() as conn:
        operations.cancel(conn, id)


@pytest.mark.parametrize("moment", ["while it waits", "while it runs"])
def test_deadline_ends_in_undo(stage: Stage, moment: str) -> None:
    """What is not finished in time is undone, also when it never began."""

    def wait(run: Run) -> None:
        while True:
            run.raise_if_stopped()
            time.sleep(0.01)

    stage.kind("k", ("wait", wait, None))
    stage.kind("holder", ("wait", wait, None))
    operations = stage.start()
    soon = clock.now() + timedelta(seconds=0.5)
    if moment == "while it waits":
        holder = stage.submit("holder", Lock("x"), deadline=clock.now() + timedelta(seconds=2))
        id = stage.submit("k", Lock("x"), deadline=soon)
    else:
        id, holder = stage.submit("k", deadline=soon), None
    with pytest.raises(errors.TimedOut):
        operations.wait(id, 10)
    if holder:
        with pytest.raises(errors.TimedOut):
            operations.wait(holder, 10)


@pytest.mark.row("S050", "S051", "S052", "S053")
def test_locks_exclude_and_share(stage: Stage) -> None:
    """Readers of a source run together; its deletion waits for them, and no operation overtakes the deletion."""
    running: set[str] = set()
    overlaps: list[set[str]] = []
    go = threading.Event()

    def step(name: str) -> Callable[[Run], None]:
        def do(_run: Run) -> None:
            running.add(name)
            overlaps.append(set(running))
            stage.did.append(name)
            go.wait(0.4)
            running.discard(name)

        return do

    for name in ("read 1", "read 2", "delete", "read 3"):
        stage.kind(name, ("do", step(name), None))
    source = names.delete_volume_lock("v")
    ids = [
        stage.submit(name, Lock(source, shared=name != "delete")) for name in ("read 1", "read 2", "delete", "read 3")
    ]
    operations = stage.start()
    for id in ids:
        operations.wait(id, 20)
    order = [what for what in stage.did if not what.startswith("end")]
    assert sorted(order[:2]) == ["read 1", "read 2"]
    assert order[2:] == ["delete", "read 3"]
    assert {"read 1", "read 2"} in overlaps
    assert all("delete" not in overlap or len(overlap) == 1 for overlap in overlaps)
    stage.stop()  # an operation lets go of its locks a moment after its row has ended
    assert list((stage.folder / "locks").iterdir()) == []


def test_a_stop_interrupts_and_the_next_start_goes_on(stage: Stage) -> None:
    """A step that is interrupted is run again by the next engine; finished ones are not, and their results are there."""
    begun, again = threading.Event(), threading.Event()

    def second(run: Run) -> str:
        stage.did.append(f"second sees {run.results['first']}")
        begun.set()
        while not again.is_set():
            run.raise_if_stopped()
            time.sleep(0.01)
        return "done"

    def first(_run: Run) -> int:
        stage.did.append("first")
        return 42

    stage.kind("k", ("first", first, None), ("second", second, None))
    stage.start()
    id = stage.submit("k")
    assert begun.wait(10)
    stage.stop()
    again.set()
    operation = stage.start().wait(id, 10)
    assert (operation.results, operation.attempts) == ({"first": 42, "second": "done"}, 2)
    assert stage.did == ["first", "second sees 42", "second sees 42", "end succeeded"]


def test_an_unknown_type_fails_with_a_reason(stage: Stage) -> None:
    """An operation that this program does not know (a downgrade) does not wait for ever."""
    with pytest.raises(errors.InternalError, match="no operation is called later"):
        stage.start().wait(stage.submit("later"), 10)


def test_a_type_of_a_package_that_was_replaced_waits_for_a_restart(stage: Stage) -> None:
    """And holds up no other: it is pending until a process of one version takes it up."""

    class Types(dict[str, OperationType[Any]]):
        def get(self, name: str, default: Any = None) -> Any:
            if name == "late":
                raise errors.Replaced(module="painter")
            return super().get(name, default)

    stage.kind("k", ("one", lambda r: stage.did.append("do 1"), None))
    stage.kind("late", ("one", lambda r: stage.did.append("late"), None))
    types, stage.types = stage.types, Types(stage.types)
    late = stage.submit("late")
    stage.start().wait(stage.submit("k"), 10)
    with stage.database.read() as conn:
        assert journal.rows.get(conn, late).state == "pending"
    stage.stop()
    stage.types = types
    stage.start().wait(late, 10)
    assert stage.did == ["do 1", "end succeeded", "late", "end succeeded"]


def test_a_file_lock_lives_as_long_as_an_orphan(tmp_path: Path) -> None:
    """A child that inherited the descriptor keeps the lock when the parent lets go."""
    import subprocess

    locks = FileLocks(tmp_path)
    with locks.hold([Lock("v")], lambda: None) as fds:
        child = subprocess.Popen(["sleep", "1"], pass_fds=fds)
    waited = []

    def count() -> None:
        waited.append(1)

    with locks.hold([Lock("v")], count):
        assert child.poll() is not None
    assert waited
    assert list(tmp_path.iterdir()) == []


def test_an_answer_leaves_the_journal_soon(stage: Stage) -> None:
    """Of what ended before a time only the kinds that are answers go."""
    stage.kind("answer", ("one", lambda _run: None, None))
    stage.kind("work", ("one", lambda _run: None, None))
    operations = stage.start()
    ids = {kind: operations.wait(stage.submit(kind), 10).id for kind in ("answer", "work")}
    with stage.database.write() as conn:
        assert journal.purge_answers(conn, "me", ["answer"], clock.now() - timedelta(minutes=10)) == 0
        assert journal.purge_answers(conn, "me", ["answer"], clock.now() + timedelta(minutes=1)) == 1
        assert journal.rows.find(conn, ids["work"])


def test_an_end_in_another_process_is_notified(postgres: Postgres, tmp_path: Path) -> None:
    """On PostgreSQL a process without an engine sees the end of an operation by NOTIFY, not by its next poll."""
    url = postgres.database()
    stage, other = Stage(Database(url), tmp_path), Database(url)
    migrate.upgrade(stage.database)
    go = threading.Event()
    stage.kind("k", ("one", lambda _run: go.wait(60), None))
    waiting = Operations(other, None, notified=True, look_seconds=3600)
    listener = Listener(other, waiting.notifications())
    listener.start()
    stage.start()
    threading.Timer(2, go.set).start()  # after two seconds the waiting side has looked at least once
    try:
        assert waiting.wait(stage.submit("k"), 60).state == "succeeded"
    finally:
        listener.stop()
        stage.stop()


def test_an_end_that_finds_its_row_elsewhere_is_kept(stage: Stage) -> None:
    """The operation says which row kept its status, and which status did not come; the row is as it was set."""
    volume = names.new_id()

    def extend(_run: Run) -> None:
        """Nothing to do."""

    def succeed(conn: Any, _operation: Operation) -> None:
        transitions.finish_volume(conn, volume, "extending", "available", size=5)

    stage.types["k"] = untyped("k", (Step("extend", extend),), succeed, lambda _conn, _operation, _error: None)
    ended = stage.start().wait(stage.submit("k"), 10)
    expected = {"resource_type": "Volume", "resource_id": volume, "status": "gone", "wanted": "available"}
    assert ended.skipped == [expected]
