"""Operations whose steps run on several hosts, on both databases."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from plans_of_hosts import PLANS
from postgres import Postgres
from several_hosts import BACKENDS, HOSTS, Plan, StepPlan, World
from untyped_operations import Run, untyped
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.client import Operations
from nbdsvc.operations.journal import Journal
from nbdsvc.store import host_tables, migrate, tables
from nbdsvc.store import operations as journal
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener
from nbdsvc.store.presence import Presence

OLDER = set(Operation.__dataclass_fields__) - {"sequence", "step_host", "step_backend", "taken_up"}
# For each host, the moments that its processes live, one after the other; the last one lives on.
DEATHS = st.fixed_dictionaries({host: st.lists(st.integers(0, 12), max_size=3) for host in HOSTS})


@settings(max_examples=40)
@given(st.lists(PLANS, min_size=1, max_size=4), DEATHS)
def test_steps_run_on_their_hosts_whatever_dies(
    database: Database, tmp_path: Path, plans: list[Plan], deaths: dict[str, list[int]]
) -> None:
    """Each step is done in order, and undone in reverse, where it belongs; the end is one, and at home; locks hold throughout."""
    world = World(database, tmp_path)
    ids = [world.submit(plan) for plan in plans]
    lives = {host: chain(moments, [None]) for host, moments in deaths.items()}

    def all_ended() -> bool:
        for host in HOSTS:
            if host not in world.lives or not world.lives[host].held:
                if host in world.engines:
                    world.engines[host].stop()
                world.start(host, next(lives[host]))
        return not world.unfinished()

    try:
        wait_until(all_ended, 60, lambda: [world.operation(id) for id in world.unfinished()])
    finally:
        world.stop()
    assert not world.faults
    for id, plan in zip(ids, plans, strict=True):
        check_end(world, id, plan, crashed=any(deaths.values()))


def check_end(world: World, id: str, plan: Plan, *, crashed: bool) -> None:
    ended = world.operation(id)
    fails = plan.fails is not None and plan.fails < len(plan.steps) and plan.steps[plan.fails].needed
    expected = model.FAILED if fails else model.SUCCEEDED
    assert ended.state in ({expected, model.CANCELLED} if plan.cancelled else {expected})
    assert world.ends(id) == [(plan.host, ended.state)]
    has_succeeded = ended.state == model.SUCCEEDED
    left = {i for i in world.done[id] if has_succeeded or plan.steps[i].undo}
    assert left == ({i for i, step in enumerate(plan.steps) if step.needed} if has_succeeded else set())
    assert (ended.place.host, ended.attempts == 1) == (plan.host, True) if not crashed else ended.attempts >= 1


def until_stopped(run: Run) -> None:
    """A step that goes on until it is cancelled or late."""
    while True:
        run.raise_if_stopped()
        time.sleep(0.01)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = World(database, tmp_path)
    yield made
    made.stop()
    assert not made.faults


def ended(world: World, id: str) -> Operation:
    wait_until(lambda: not world.unfinished())
    return world.operation(id)


ABROAD = (StepPlan(), StepPlan("two"), StepPlan("two@c"))


@pytest.mark.parametrize("why", ["cancelled", "late"])
def test_what_waits_for_a_host_is_taken_back(world: World, why: str) -> None:
    """A host that is down has not taken it up: a cancel or the deadline ends it without that host, which then finds nothing."""
    id = world.submit(Plan("one", ABROAD), deadline=clock.now() + timedelta(seconds=1) if why == "late" else None)
    world.start("one")
    wait_until(lambda: world.operation(id).step_host == "two")
    if why == "cancelled":
        world.cancel(id)
    assert ended(world, id).state == (model.FAILED if why == "late" else model.CANCELLED)
    world.start("two")
    assert world.walk == ["do 0 on one", "undo 0 on one", f"end {world.operation(id).state} on one"]


def test_what_a_host_began_waits_for_it(world: World) -> None:
    """A host that died in its step has that step to undo: a cancel is seen when it is there again."""
    id = world.submit(Plan("one", (StepPlan(), StepPlan("two", act=until_stopped))))
    later = world.plan(Plan("one", (StepPlan(needed=False),)))
    world.start("one")
    dead = world.start("two")
    wait_until(lambda: "do 1 on two" in world.walk)
    world.lives["two"].held = False
    dead.stop()
    world.cancel(id)
    world.insert(later)
    wait_until(lambda: world.unfinished() == [id])  # so host one has looked at the journal
    assert world.operation(id).place == Place("two", "")
    world.start("two")
    assert ended(world, id).state == model.CANCELLED
    world.walk.remove("end succeeded on one")
    assert world.walk == ["do 0 on one", "do 1 on two", "undo 1 on two", "undo 0 on one", "end cancelled on one"]


@pytest.mark.parametrize("why", ["cancelled", "late", "neither"])
def test_what_is_left_to_do_at_a_host_that_is_gone_is_left_out(world: World, why: str) -> None:
    """A step after the point of no return, which that host has not taken up: neither a cancel nor the deadline makes it wait."""
    deadline = clock.now() + timedelta(seconds=1) if why == "late" else None
    id = world.submit(Plan("one", (StepPlan(), StepPlan("two", undo=False, late=True))), deadline=deadline)
    world.start("one", gone_seconds=1.5)
    wait_until(lambda: world.operation(id).step_host == "two")
    if why == "cancelled":
        world.cancel(id)
    failed = ended(world, id)
    assert (failed.state, "its host is gone" in str(failed.error)) == (model.FAILED, True)
    assert world.walk == ["do 0 on one", "end failed on one"]


def test_a_host_is_not_gone_because_the_database_was_away(database: Database) -> None:
    """Nothing was looked at for longer than a host may be silent: its silence is counted anew."""
    presence = Presence(database, 0.2, late_seconds=0.5)
    assert not presence.is_gone("two")
    time.sleep(0.6)
    assert not presence.is_gone("two")
    wait_until(lambda: presence.is_gone("two"))


def test_a_host_may_be_silent_as_long_as_its_own_claim_says(database: Database) -> None:
    """Whatever the setting of who looks: the host that beats seldom is there, and the one that beats often is gone."""
    row = {"instance": "i", "machine": "m", "pid": 1, "started": "", "beat": 0, "note": ""}
    with database.write() as conn:
        for host, seconds in (("seldom", 1000), ("often", 0.05)):
            conn.execute(host_tables.host_claims.insert().values(host=host, seconds=seconds, **row))
    hasty, patient = Presence(database, 0.1), Presence(database, 1000)
    assert not hasty.is_gone("seldom")
    wait_until(lambda: hasty.is_gone("gone without a claim"))
    time.sleep(0.2)
    assert not hasty.is_gone("seldom")
    wait_until(lambda: patient.is_gone("often"))


def test_of_taking_up_and_taking_back_one_wins(database: Database) -> None:
    """Whichever host changes the row first has it; the other one changes nothing."""
    one, two, away, at_home = abroad(database)
    late = errors.Cancelled(operation=away.id)
    assert two.begin(away, 1, {})
    assert not one.take_back(away, late, at_home)
    one, two, away, at_home = abroad(database)
    assert one.take_back(away, late, at_home)
    back = one.get(away.id)
    assert not two.begin(away, 1, {})
    assert (back, back.state, back.cursor, back.place) == (one.get(away.id), model.UNDOING, 0, at_home)


def test_what_comes_back_is_not_begun_as_it_was_before(database: Database) -> None:
    """A host read it, and then it was taken back and handed over to that host for an earlier undo: the old step does not begin."""
    one, two, away, _home = abroad(database)
    assert one.take_back(away, errors.Cancelled(operation=away.id), away.place)
    assert not two.begin(away, 1, {})
    assert two.begin(two.get(away.id))
    assert one.get(away.id).state == model.UNDOING


def abroad(database: Database, claim: Claim | None = None) -> tuple[Journal, Journal, Operation, Place]:
    """The journals of two hosts, an operation of the first one that it has handed over to the second, its own place."""
    one, two = Journal(database, "one"), Journal(database, "two", claim)
    made = Operation(names.new_id(), "k", "one", "p", "volume", "v", {}, [[names.new_id(), False]])
    with database.write() as conn:
        journal.insert(conn, made)
    assert one.begin(one.get(made.id), 0, {})
    one.intend(made.id, 1, {"0": 0}, Place("two", "b"))
    return one, two, one.get(made.id), made.own_place


def writes(journal: Journal, operation: Operation) -> list[Callable[[], object]]:
    """Each way to write the operation."""
    reason, end = errors.Cancelled(operation=operation.id), untyped("k", (), lambda *_: None, lambda *_: None)
    return [
        lambda: journal.abandon(operation),
        lambda: journal.intend(operation.id, 2, {}),
        lambda: journal.intend(operation.id, 2, {}, operation.own_place),
        lambda: journal.undoing(operation.id, 1, reason),
        lambda: journal.progress(operation.id, 1, 2, "", 0, 0),
        lambda: journal.succeed(end, operation, {}, {}),
        lambda: journal.fail(end, operation, {}, reason),
    ]


@pytest.mark.parametrize("who", ["the host that handed it over", "a process that was replaced"])
def test_who_has_it_no_more_writes_nothing(database: Database, who: str) -> None:
    """A process that was paused while the operation, or its host's name, went to another one: its row and its locks stay."""
    claim = Claim(database, "two", 3600, "")
    claim.take()
    one, two, operation, _home = abroad(database, claim)
    assert two.begin(operation, 1, {})
    if who == "a process that was replaced":
        with database.write() as conn:
            conn.execute(host_tables.host_claims.update().values(instance="another"))
    before = one.get(operation.id), one.claimed()
    delayed = one if who == "the host that handed it over" else two
    for write in writes(delayed, operation):
        with pytest.raises(errors.Interrupted):
            write()
    assert (one.get(operation.id), one.claimed()) == before
    with pytest.raises(errors.Interrupted) if delayed is two else nullcontext():
        assert not delayed.begin(operation, 1, {})
    assert (one.get(operation.id), one.claimed()) == before
    claim.release()


@pytest.mark.parametrize("at", ["four", "two@d", "@b"])
def test_an_unknown_backend_fails_and_is_undone(world: World, at: str) -> None:
    """A step for a host or a backend that has never reported fails with its name; what was done before is undone."""
    id = world.submit(Plan("one", (StepPlan(), StepPlan(at))))
    world.start("one")
    failed = ended(world, id)
    assert failed.error
    assert (failed.state, failed.error["kind"]) == (model.FAILED, "BackendUnavailable")
    assert "no host has reported" in str(errors.from_facts(failed.error))
    assert world.walk == ["do 0 on one", "undo 0 on one", "end failed on one"]


@pytest.mark.parametrize("why", ["cancelled", "late"])
def test_a_cancel_and_a_deadline_are_seen_where_it_is(world: World, why: str) -> None:
    """The step elsewhere ends, is undone there, and then the steps before it at home; its progress and rate pass the hosts."""
    rates: list[int] = []

    def act(run: Run) -> None:
        run.progress(5, 5)
        try:
            until_stopped(run)
        finally:
            rates.append(run.rate)

    deadline = clock.now() + timedelta(seconds=2) if why == "late" else None
    id = world.submit(Plan("one", (StepPlan(), StepPlan("two", act=act))), deadline=deadline)
    for host in ("one", "two"):
        world.start(host)
    wait_until(lambda: world.operation(id).progress_done == 5)
    with world.database.write() as conn:
        assert journal.request_rate(conn, id, 7)
    if why == "cancelled":
        world.cancel(id)
    error = ended(world, id).error
    assert error
    assert (error["kind"], rates) == ("TimedOut" if why == "late" else "Cancelled", [7])
    assert world.walk[:4] == ["do 0 on one", "do 1 on two", "undo 1 on two", "undo 0 on one"]


def test_a_failed_undo_elsewhere_is_the_end_at_home(world: World) -> None:
    """Both reasons come home with the operation, and the undos before it run."""

    def fail(_run: Run) -> None:
        raise errors.DeviceBusy(device="d", reason="held")

    id = world.submit(Plan("one", (StepPlan(), StepPlan("two", undo_act=fail), StepPlan("three")), fails=2))
    for host in HOSTS:
        world.start(host)
    found = ended(world, id)
    assert found.error
    error = errors.from_facts(found.error)
    assert found.state == model.ROLLBACK_FAILED
    assert isinstance(error, errors.RollbackFailed)
    assert "the test wants it" in error.facts["cause"]
    assert "held" in error.facts["undo_error"]
    assert world.walk[-2:] == ["undo 0 on one", "end rollback_failed on one"]


def test_a_slot_is_one_of_the_place(world: World) -> None:
    """Two copies of one project, on a host with one slot a backend: beside each other where they are for two backends."""
    both = threading.Barrier(2)
    steps = [(StepPlan(), StepPlan(f"two@{name}", copies=True, act=lambda _run: both.wait(60))) for name in BACKENDS]
    ids = [world.submit(Plan("one", each)) for each in steps]
    for host in ("one", "two"):
        world.start(host)
    assert [ended(world, id).state for id in ids] == [model.SUCCEEDED] * 2


def test_another_version_on_a_host_ends_nothing(world: World) -> None:
    """A host that does not know the operation refuses its step; the undo goes on at home, and says what was not undone."""
    id = world.submit(Plan("one", (StepPlan(), StepPlan("two"), StepPlan())))
    plan = world.plans.pop(id)
    world.start("two")
    world.plans[id] = plan
    world.start("one")
    failed = ended(world, id)
    assert failed.error
    assert failed.state == model.ROLLBACK_FAILED
    assert f"no operation is called {id}" in str(errors.from_facts(failed.error))
    assert world.walk == ["do 0 on one", "undo 0 on one", "end rollback_failed on one"]


def test_no_hand_over_and_no_end_waits_for_a_poll(postgres: Postgres, tmp_path: Path) -> None:
    """PostgreSQL wakes the next host, the host whose operation waits for its locks, and whichever process waits for the end."""
    world = World(open_migrated(postgres.database()), tmp_path)
    first = world.plan(Plan("one", (StepPlan(), StepPlan("two"), StepPlan("three"), StepPlan()), locks=(("a", False),)))
    second = world.plan(Plan("three", (StepPlan(), StepPlan("one")), locks=(("a", False),)))
    waiting = Operations(world.database, None, notified=True, look_seconds=3600)
    engines = [world.start(host, poll=3600) for host in HOSTS]
    sides = [waiting, *(Operations(world.database, engine, look_seconds=3600) for engine in engines)]
    listeners = [Listener(world.database, each.notifications()) for each in sides]
    for listener in listeners:
        listener.start()
    try:
        wait_until(lambda: listening(world.database) == len(sides))
        for id in (first, second):
            world.insert(id)
        for id, side in ((first, waiting), (second, sides[2])):  # the second one is of another host than that
            assert side.wait(id, 60).state == model.SUCCEEDED
    finally:
        for listener in listeners:
            listener.stop()
        world.stop()
    assert not world.faults


def open_migrated(url: str) -> Database:
    made = Database(url)
    migrate.upgrade(made)
    return made


def listening(database: Database) -> int:
    """The number of listeners that have subscribed to their last channel."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'"
    with database.read() as conn:
        return int(conn.execute(sa.text(query)).scalar_one())


def test_operations_of_an_older_version_are_at_home(database_url: str) -> None:
    """After the migration each is where it was submitted for, and those that were begun are taken up."""
    older = Database(database_url)
    migrate.upgrade(older, "0012")
    columns = {
        name: getattr(Operation("", "k", "one", "p", "volume", "v", {}, [], backend="b"), name) for name in OLDER
    }
    with older.write() as conn:
        for state in (model.PENDING, model.UNDOING):
            conn.execute(tables.operations.insert().values(columns | {"id": state, "state": state}))
    migrate.upgrade(older)
    found = {each.id: (each.place, each.taken_up) for each in Journal(older, "one").unfinished()}
    assert found == {model.PENDING: (Place("one", "b"), False), model.UNDOING: (Place("one", "b"), True)}
    older.close()
