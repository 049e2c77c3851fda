"""The locks of operations as rows, on both databases and for several hosts at once."""

from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbdsvc.model import operation as model
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.journal import Journal
from nbdsvc.operations.locks import excluded
from nbdsvc.store import operation_locks, tables
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database

HOSTS = ("one", "two")
LOCKS = st.dictionaries(st.sampled_from("abc"), st.booleans(), min_size=1, max_size=3)
# (an operation's locks) submits it; ("begin", which), ("end", which) and ("cancel", which) try that with one of them.
ACTIONS = st.one_of(
    LOCKS, st.tuples(st.sampled_from(["begin", "end", "cancel"]), st.integers(min_value=0, max_value=30))
)


def conflict(one: Operation, other: Operation) -> bool:
    """What locks mean: one writer or any readers."""
    return any(a.name == b.name and not (a.shared and b.shared) for a in one.lock_set() for b in other.lock_set())


class History:
    """Operations of two hosts on one database, and what is at work by the rule."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.journals = {host: Journal(database, host) for host in HOSTS}
        self.all: list[Operation] = []
        self.state: dict[str, str] = {}
        with database.write() as conn:
            conn.execute(tables.operations.delete())
            conn.execute(tables.operation_locks.delete())

    def submit(self, wanted: dict[str, bool]) -> None:
        id, host = f"{len(self.all):036}", HOSTS[len(self.all) % 2]
        locks = [Lock(name, shared).to_json() for name, shared in wanted.items()]
        operation = Operation(id, "k", host, "p", "volume", "v", {}, locks)
        with self.database.write() as conn:
            journal.insert(conn, operation)
        self.all.append(operation)
        self.state[id] = model.PENDING

    def may_begin(self, operation: Operation) -> bool:
        at = self.all.index(operation)
        others = [
            each
            for index, each in enumerate(self.all)
            if each is not operation
            and (self.state[each.id] == model.RUNNING or (self.state[each.id] == model.PENDING and index < at))
        ]
        return not any(conflict(operation, each) for each in others)

    def act(self, action: str, operation: Operation) -> None:
        state, mine = self.state[operation.id], self.journals[operation.host]
        if action == "begin" and state == model.PENDING:
            allowed = self.may_begin(operation)
            assert mine.begin(mine.get(operation.id), 0, {}) is allowed
            self.state[operation.id] = model.RUNNING if allowed else state
        elif action == "end" and state == model.RUNNING:
            with self.database.write() as conn:
                journal.update_on(conn, operation.host, operation.id, state=model.SUCCEEDED)
                operation_locks.forget(conn, operation.id)
            self.state[operation.id] = model.SUCCEEDED
        elif action == "cancel" and state == model.PENDING:
            with self.database.write() as conn:
                assert journal.request_cancel(conn, operation.id)
            self.state[operation.id] = "cancelled"

    def check(self) -> None:
        """No two at work conflict, and the list of those that wait says the same as the statement that begins them."""
        working = [each for each in self.all if self.state[each.id] == model.RUNNING]
        assert not any(conflict(*two) for two in combinations(working, 2))
        waiting = excluded(self.journals["one"].claimed())
        pending = [each for each in self.all if self.state[each.id] == model.PENDING]
        assert waiting == {each.id for each in pending if not self.may_begin(each)}

    def drain(self) -> None:
        """Whatever happened, begin and end again and again leave nothing that waits."""
        for _ in range(len(self.all)):
            for action in ("begin", "end"):
                for each in self.all:
                    self.act(action, each)
        assert model.PENDING not in self.state.values()


@pytest.mark.row("S050")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTIONS, max_size=25))
def test_locks_hold_over_hosts(database: Database, actions: list[dict[str, bool] | tuple[str, int]]) -> None:
    """In any history of two hosts no two operations that conflict are at work, earlier ones go first, and none waits for ever."""
    history = History(database)
    for action in actions:
        if isinstance(action, dict):
            history.submit(action)
        elif history.all:
            history.act(action[0], history.all[action[1] % len(history.all)])
        history.check()
    history.drain()


def test_what_is_at_work_excludes_whatever_its_place(database: Database) -> None:
    """On PostgreSQL an earlier operation may be seen after a later one began: it waits for it all the same."""
    history = History(database)
    history.submit({"a": False})
    history.submit({"a": False})
    first, second = history.all
    with database.write() as conn:
        journal.update_on(conn, second.host, second.id, state=model.RUNNING)
    mine = history.journals[first.host]
    assert mine.begin(mine.get(first.id)) is False
    assert excluded(mine.claimed()) == {first.id}


def test_what_was_abandoned_holds_nothing(database: Database) -> None:
    """An operation that is stopped before it began ends beside one that has its locks, and excludes nothing."""
    history = History(database)
    history.submit({"a": False})
    history.submit({"a": False})
    first, second = history.all
    history.act("begin", first)
    mine = history.journals[second.host]
    mine.abandon(mine.get(second.id))
    assert excluded(mine.claimed()) == set()
    assert [each.id for each in mine.claimed()] == [first.id]


def test_a_lock_that_is_wanted_twice_is_exclusive(database: Database) -> None:
    """Of the same name wanted shared and exclusively there is one row, which is exclusive."""
    operation = Operation("0" * 36, "k", "one", "p", "volume", "v", {}, [["a", True], ["a", False]])
    with database.write() as conn:
        journal.insert(conn, operation)
    (claimed,) = Journal(database, "one").claimed()
    assert claimed.locks == (Lock("a", False),)
