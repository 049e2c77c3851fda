"""Operations of which a host is lost: declared so, and never started again."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from plans_of_hosts import PLANS
from several_hosts import HOSTS, Plan, StepPlan, World
from waiting import wait_until

from nbdsvc.model import operation as model
from nbdsvc.operations.operation_type import OperationType
from nbdsvc.store import hosts
from nbdsvc.store.database import Database

LOST = "two"


@settings(max_examples=25)
@given(st.lists(PLANS, min_size=1, max_size=4), st.integers(0, 12))
def test_nothing_waits_for_a_lost_host(database: Database, tmp_path: Path, plans: list[Plan], moments: int) -> None:
    """Whenever it is lost: each operation ends once; what succeeds was done whole; of what fails nothing is left on other
    hosts, undone in order; locks hold throughout."""
    world = World(database, tmp_path)
    ids = [world.submit(plan) for plan in plans]
    for host in HOSTS:
        world.start(host, moments if host == LOST else None)
    try:
        wait_until(lambda: not (world.lives[LOST].held and world.unfinished()), 60)
        world.lose(LOST)
        wait_until(
            lambda: world.settle(LOST) == 0 and not world.unfinished(), 60, lambda: list(map(world.operation, ids))
        )
    finally:
        world.stop()
    assert not world.faults
    for id, plan in zip(ids, plans, strict=True):
        ended = world.operation(id)
        assert world.ends(id) == [(plan.host, ended.state)]
        here = {i for i, step in enumerate(plan.steps) if plan.place(i)[0] != LOST and step.needed}
        left = {i for i in world.done[id] & here if ended.state == model.SUCCEEDED or plan.steps[i].undo}
        assert left == (here if ended.state == model.SUCCEEDED else set())


def test_a_step_at_a_lost_host_is_undone_without_it(database: Database, tmp_path: Path) -> None:
    """What another host did before is undone there, and the reason names the lost host; nothing is settled before the word."""
    world = World(database, tmp_path)
    id = world.submit(Plan("one", (StepPlan(), StepPlan("three"), StepPlan(LOST))))
    world.start("one")
    world.start("three")
    world.start(LOST, 0)
    wait_until(lambda: world.operation(id).step_host == LOST)
    assert world.settle(LOST) == 0
    world.lose(LOST)
    wait_until(lambda: world.settle(LOST) == 0 and not world.unfinished())
    world.stop()
    assert world.walk[-3:] == ["undo 1 on three", "undo 0 on one", "end failed on one"]
    assert "declared lost" in str(world.operation(id).error)
    assert not world.faults


def test_who_returns_is_waited_for_again(database: Database, tmp_path: Path) -> None:
    """A host that is allowed to return has its operations: none is ended any more."""
    world = World(database, tmp_path)
    world.start(LOST, 0)
    world.lose(LOST)
    with database.write() as conn:
        assert hosts.let_return(conn, LOST)
        assert not hosts.let_return(conn, LOST)
    id = world.submit(Plan(LOST, (StepPlan(),)))
    assert world.settle(LOST) == 0
    assert world.unfinished() == [id]


def test_types_that_remove_say_so() -> None:
    """What ends with its host is gone with it: a deletion has succeeded there; nothing else has. Backups are in a store."""
    from nbdsvc.operation_types import TYPES_BY_NAME

    def removes(each: OperationType[object]) -> bool:
        return not each.name.startswith("backup.") and (
            "delete" in each.name
            or "terminate" in each.name
            or "detach" in each.name
            or each.name == "volume.finish_move"
        )

    assert {each.name for each in TYPES_BY_NAME.values() if each.removes} == {
        each.name for each in TYPES_BY_NAME.values() if removes(each)
    }
