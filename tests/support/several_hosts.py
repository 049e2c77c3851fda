"""Engines of several hosts over one database in one process, and what must be true of operations whose steps they share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from untyped_operations import SHORT, Run, Step, untyped

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations import lost_host
from nbdsvc.operations.engine import Engine
from nbdsvc.operations.journal import CHANNEL
from nbdsvc.store import backends, clusters, host_tables, hosts, tables
from nbdsvc.store import operations as journal
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database

HOSTS = ("one", "two", "three")
BACKENDS = ("b", "c")
ends = sa.Table(
    "ends",
    sa.MetaData(),
    sa.Column("operation", sa.String(36)),
    sa.Column("host", sa.Text),
    sa.Column("state", sa.Text),
)


@dataclass(frozen=True)
class StepPlan:
    """at: `host` or `host@backend`, None for the operation's own. act: what it does besides; undo_act: while it is undone.

    late: after the point of no return, at a host that is not awaited.
    """

    at: str | None = None
    undo: bool = True
    copies: bool = False
    needed: bool = True
    late: bool = False
    act: Callable[[Run], object] = lambda _run: None
    undo_act: Callable[[Run], object] = lambda _run: None


@dataclass(frozen=True)
class Plan:
    """An operation of `host`. fails: the step that does. cancelled: the moment of all moments at which it is, if so early."""

    host: str
    steps: tuple[StepPlan, ...]
    fails: int | None = None
    locks: tuple[tuple[str, bool], ...] = ()
    lane: str = SHORT
    cancelled: int | None = None

    def place(self, index: int) -> tuple[str, str]:
        """Host and backend of that step."""
        host, _, backend = (self.steps[index].at or f"{self.host}@b").partition("@")
        return host, backend or ("b" if host == self.host else "")

    def left(self, succeeded: bool) -> set[int]:
        """The steps whose effect is there after the end."""
        wanted = range(len(self.steps)) if succeeded else range(self.fails or 0)
        return {i for i in wanted if self.steps[i].needed and (succeeded or not self.steps[i].undo)}


class Life(Claim):
    """The claim of a process that dies at the given moment: it writes nothing more, and its steps stop."""

    def __init__(self, moments: int | None) -> None:
        self.held = True
        self._left = moments
        self._mutex = threading.Lock()

    def moment(self) -> None:
        """A write to the journal, or the time between one and a step."""
        with self._mutex:
            if self._left is not None:
                self._left -= 1
                self.held &= self._left >= 0
            if not self.held:
                raise errors.Interrupted(operation="of a dead process")

    def check(self, conn: sa.Connection, operation: str) -> None:
        self.moment()


@dataclass
class World:
    """The plans' operations, what their steps did so far, and which rules were broken."""

    database: Database
    folder: Path
    plans: dict[str, Plan] = field(default_factory=dict)
    done: dict[str, set[int]] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    walk: list[str] = field(default_factory=list)
    engines: dict[str, Engine] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    moments: int = 0
    # Hosts that never return: what was done there is gone with them.
    lost: set[str] = field(default_factory=set)
    # The cluster of all backends; empty: each host has storage of its own.
    cluster: str = ""
    # Lost hosts whose storage another one has taken over, and that one.
    heirs: dict[str, str] = field(default_factory=dict)
    mutex: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        with self.database.write() as conn:
            for table in (
                host_tables.take_overs,
                host_tables.hosts,
                tables.operations,
                tables.operation_locks,
                tables.pools,
                tables.backends,
            ):
                conn.execute(table.delete())
            ends.drop(conn, checkfirst=True)
            ends.create(conn)
            for host in HOSTS:
                for name in BACKENDS:
                    backends.report(conn, host, name, "nova", [], binary="cinder-volume", cluster=self.cluster)

    def start(self, host: str, moments: int | None = None, poll: float = 0.01, **given: Any) -> Engine:
        """An engine of this host; it dies after so many moments. given: of Engine."""
        life = self.lives[host] = Life(moments)
        types = {id: self._type(id, plan, host) for id, plan in self.plans.items()}
        probe: Callable[..., None] = lambda _moment, _operation, _step: self._moment(life)  # noqa: E731
        made = Engine(self.database, host, types, host, self.folder / host, poll, probe, copies=1, claim=life, **given)
        self.engines[host] = made
        made.start()
        return made

    def stop(self) -> None:
        for engine in self.engines.values():
            engine.stop()

    def plan(self, plan: Plan) -> str:
        """The id of an operation to be submitted. Call it before the engines start: they have a type for each."""
        id = names.new_id()
        self.plans[id], self.done[id] = plan, set()
        return id

    def insert(self, id: str, **given: Any) -> None:
        """Submit it."""
        plan = self.plans[id]
        locks = [Lock(*lock).to_json() for lock in plan.locks]
        made = Operation(id, id, plan.host, "p", "volume", names.new_id(), {}, locks, backend="b", **given)
        with self.database.write() as conn:
            journal.insert(conn, made)
            self.database.notify(conn, CHANNEL)

    def submit(self, plan: Plan, **given: Any) -> str:
        """`plan` and `insert`."""
        id = self.plan(plan)
        self.insert(id, **given)
        return id

    def lose(self, host: str) -> None:
        """The host is dead, and declared lost."""
        self.lives[host].held = False
        self.engines[host].stop()
        if not self.cluster:
            self.lost.add(host)
        with self.database.write() as conn:
            hosts.declare_lost(conn, host)

    def take_over(self, host: str, by: str) -> None:
        """The storage of the lost host is served by that one."""
        self.heirs[host] = by
        with self.database.write() as conn:
            for name in BACKENDS:
                clusters.take_over(conn, host, name, by)

    def _is_at(self, at: tuple[str, str], wanted: tuple[str, str]) -> bool:
        """A step that names no backend is at its operation's own, which is another host's since a take-over."""
        return at == wanted if not self.heirs else at[0] == self.heirs.get(wanted[0], wanted[0])

    def settle(self, host: str) -> int:
        """As every process does it at intervals."""
        types = {id: self._type(id, plan, host) for id, plan in self.plans.items()}
        return lost_host.settle(self.database, host, types)

    def cancel(self, id: str) -> None:
        """As the API of a process without an engine does it."""
        with self.database.write() as conn:
            journal.request_cancel(conn, id)

    def unfinished(self) -> list[str]:
        with self.database.read() as conn:
            found = journal.states(conn, list(self.plans))
        return [id for id, has_ended in found.items() if not has_ended]

    def operation(self, id: str) -> Operation:
        with self.database.read() as conn:
            return journal.rows.get(conn, id)

    def ends(self, id: str) -> list[tuple[str, str]]:
        """(host, state) of each end of the operation."""
        with self.database.read() as conn:
            query = sa.select(ends.c.host, ends.c.state).where(ends.c.operation == id)
            return [(row.host, row.state) for row in conn.execute(query)]

    def _moment(self, life: Life) -> None:
        with self.mutex:
            self.moments += 1
            due = [id for id, plan in self.plans.items() if plan.cancelled == self.moments]
        for id in due:
            self.cancel(id)
        life.moment()

    def _type(self, id: str, plan: Plan, host: str) -> Any:
        def end(conn: sa.Connection, operation: Operation, *_: object) -> None:
            conn.execute(ends.insert().values(operation=id, host=host, state=operation.state))
            with self.mutex:
                self.active.discard(id)
                self.walk.append(f"end {operation.state} on {host}")

        return untyped(id, tuple(self._step(plan, i) for i in range(len(plan.steps))), end, end, plan.lane)

    def _step(self, plan: Plan, index: int) -> Step:
        given = plan.steps[index]

        def do(run: Run) -> Any:
            if given.needed:
                with self.mutex:
                    self._do(run, plan, index)
                given.act(run)
            return index

        def undo(run: Run) -> None:
            if given.needed:
                with self.mutex:
                    self._undo(run, plan, index)
                given.undo_act(run)

        at = given.at
        return Step(
            str(index),
            do,
            undo if given.undo else None,
            copies=lambda _run: given.copies,
            stoppable=not given.late,
            awaited=not given.late,
            needed=lambda _run: given.needed,
            host=(lambda _run: at) if at else None,
        )

    def _do(self, run: Run, plan: Plan, index: int) -> None:
        done = self.done[run.id]
        self._see(run, plan, index, "do")
        before = {i for i in range(index) if plan.steps[i].needed}
        self._rule(not ((done - {index}) ^ before) - self._gone(plan), f"do {index} after {done}")
        self._rule(all(run.results[str(i)] == i for i in range(index)), f"do {index} with {run.results}")
        if plan.fails == index:
            raise errors.BackendUnavailable(backend=str(index), reason="the test wants it")
        done.add(index)

    def _undo(self, run: Run, plan: Plan, index: int) -> None:
        done = self.done[run.id]
        self._see(run, plan, index, "undo")
        above = {i for i in done - self._gone(plan) if i > index and plan.steps[i].undo}
        self._rule(not above, f"undo {index} before {above}")
        done.discard(index)

    def _gone(self, plan: Plan) -> set[int]:
        return {i for i in range(len(plan.steps)) if plan.place(i)[0] in self.lost}

    def _see(self, run: Run, plan: Plan, index: int, what: str) -> None:
        """It runs where it belongs, and nothing that its locks exclude is at work."""
        at = run.environment, run.operation.step_backend
        self.walk.append(f"{what} {index} on {at[0]}")
        self._rule(self._is_at(at, plan.place(index)), f"{what} {index} at {at}, not {plan.place(index)}")
        self.active.add(run.id)
        for id in self.active - {run.id}:
            both = [(a, b) for a in plan.locks for b in self.plans[id].locks if a[0] == b[0] and not (a[1] and b[1])]
            self._rule(not both, f"{run.id} beside {id}: {both}")

    def _rule(self, holds: bool, what: str) -> None:
        if not holds:
            self.faults.append(what)
