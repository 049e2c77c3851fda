"""Who may work: slots shared between projects, whatever some of them do."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from untyped_operations import ACCESS, COPY, Run, Step, always, untyped
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.client import Operations
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.slots import Slots
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database

SLOTS, MOST = 3, 8


def fill(slots: Slots, counts: Callable[[str], bool] = lambda _id: True) -> list[str]:
    return list(iter(lambda: slots.next(counts), None))


def test_one_project_has_all_slots_and_no_more() -> None:
    """Alone, a project works with all slots; its other operations wait, and start one by one, in order."""
    slots = Slots(SLOTS, MOST)
    for id in "abcdef":
        slots.wait(id, "p")
    assert fill(slots) == ["a", "b", "c"]
    slots.leave("b")
    assert fill(slots) == ["d"]


def test_slow_ones_take_no_slot_but_from_their_own_project() -> None:
    """Copies that move nothing keep their own project waiting, and no other."""
    slots = Slots(SLOTS, 4 * MOST)
    for id in ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"):
        slots.wait(id, id[0])
    assert sorted(fill(slots, lambda id: id[0] != "a")) == ["a1", "a2", "a3", "b1", "b2", "b3"]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), max_size=60),
)
def test_nobody_waits_for_others_only(steps: list[tuple[int, bool, bool]]) -> None:
    """Whatever comes and goes, fast or slow: a project that waits has something at work, or all threads are taken; no
    project has more than the slots; and what works beyond them is the first of its project, or slow."""
    slots, working, slow = Slots(SLOTS, MOST), Counter[str](), set[str]()
    owner: dict[str, str] = {}
    for number, (project, arrives, is_slow) in enumerate(steps):
        name = f"p{project}"
        if arrives:
            owner[str(number)] = name
            slots.wait(str(number), name)
            slow |= {str(number)} if is_slow else set()
        else:
            deleting = next((id for id, of in owner.items() if of == name), None)
            if deleting:
                working[name] -= not slots.is_waiting(deleting)
                slots.leave(deleting)
                del owner[deleting]
        for id in fill(slots, lambda id: id not in slow):
            working[owner[id]] += 1
        waiting = {of for id, of in owner.items() if slots.is_waiting(id)}
        assert len(slots) <= MOST
        assert all(count <= SLOTS for count in working.values())
        assert all(working[each] for each in waiting) or len(slots) == MOST


class Stage:
    """An engine with one slot for copies. `endless` copies nothing until it is cancelled; the others end at once."""

    def __init__(self, database: Database, folder: Path) -> None:
        def wait(run: Run) -> None:
            while True:
                run.raise_if_stopped()
                time.sleep(0.05)

        end: Callable[..., None] = lambda *_: None  # noqa: E731
        types = {
            "endless": untyped(
                "endless", (Step("first", lambda _r: None), Step("copy", wait, copies=always)), end, end
            ),
            "copy": untyped("copy", (Step("copy", lambda _r: None, copies=always),), end, end),
            "short": untyped("short", (Step("do", lambda _r: None),), end, end),
            "detach": untyped("detach", (Step("do", lambda _r: None),), end, end, ACCESS),
        }
        self.database = database
        self.engine = Engine(database, "me", types, None, folder / "locks", poll_seconds=0.05, copies=1)
        self.operations = Operations(database, self.engine)

    def submit(self, kind: str, project: str, *locks: Lock) -> str:
        made = Operation(names.new_id(), kind, "me", project, "volume", "v", {}, [lock.to_json() for lock in locks])
        with self.database.write() as conn:
            journal.insert(conn, made)
        return made.id

    def cancel(self, id: str) -> None:
        with self.database.write() as conn:
            self.operations.cancel(conn, id)
        self.operations.cancelled(id)


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(database, tmp_path)
    made.engine.start()
    yield made
    made.engine.stop()


def copying_threads() -> int:
    return sum(thread.name.startswith("copy-operation") for thread in threading.enumerate())


def test_copies_that_never_end_keep_nobody_else_waiting(stage: Stage) -> None:
    """100 endless copies of two projects: others copy, detach and do short work; what waits for a slot has no thread."""
    endless = [stage.submit("endless", project) for _ in range(50) for project in ("p1", "p2")]
    wait_until(lambda: copying_threads() >= 2)
    for kind, project in (("short", "p1"), ("detach", "p1"), ("copy", "p3"), ("short", "p3"), ("copy", "p4")):
        stage.operations.wait(stage.submit(kind, project), 30)
    assert copying_threads() <= 4
    stage.cancel(endless[-1])  # the operation waits for a slot and holds no thread
    with pytest.raises(errors.Cancelled):
        stage.operations.wait(endless[-1], 30)


def test_what_waits_for_a_slot_keeps_its_locks(stage: Stage) -> None:
    """A copy's earlier steps are done and its locks held while it waits; what excludes it, waits for it."""
    first = stage.submit("endless", "p1")
    wait_until(lambda: stage.engine._journal.get(first).cursor == 1)  # the operation has the slot
    waiting = stage.submit("endless", "p1", Lock("v"))
    wait_until(lambda: stage.engine._journal.get(waiting).cursor == 0)
    excluded = stage.submit("short", "p1", Lock("v"))
    with pytest.raises(errors.TimedOut):
        stage.operations.wait(excluded, 0.5)
    stage.cancel(waiting)
    stage.operations.wait(excluded, 30)


def test_the_only_backend_is_one_whether_named_or_not(database: Database, tmp_path: Path) -> None:
    """What names its backend and what does not share the slots of a host that has one."""
    engine = Engine(database, "me", {}, None, tmp_path, copies_of={"b": 1})
    assert engine._lane(COPY, "") is engine._lane(COPY, "b")
