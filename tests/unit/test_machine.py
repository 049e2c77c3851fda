"""The rig's machine finds what is wrong, and nothing where nothing is: on its simulator, whose bugs are named as the planted ones."""

import statistics

import pytest

from rig.machine import hunt, run
from rig.machine.mutations import named
from rig.machine.simulator import SimulatedLab

SEEDS = range(1, 16)
# A hunt of four minutes on emulated hosts comes to about fifty steps; twice that leaves room for a Hypothesis that draws
# otherwise.
MOST_STEPS = 120.0
BUGS = ["a clone is empty", "a volume of a snapshot is one of its volume", "a revert does nothing", "read-only is ignored",
        "a snapshot's tag is forgotten", "the undo of a create is lost", "a volume in use may be reserved",
        "a detach does not free the volume", "a detach leaves its export", "a device does not grow",
        "quotas count deleted snapshots", "a frozen backend takes changes", "a moved volume is empty", "a second snapshot has the bytes of its first"]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_most_hunts_find_their_bug(bug: str) -> None:
    """The median of the steps, over hunts of several seeds."""
    steps = []
    for seed in SEEDS:
        lab = SimulatedLab(bug, hunt.weights(named(bug)))
        record, world = run.generate(lab, 60, seed, MOST_STEPS)
        steps.append(world.counts.steps if record.violation else MOST_STEPS + 1)
    print(bug, sorted(steps))
    assert statistics.median(steps) <= MOST_STEPS


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """Two thousand steps on a service without a bug."""
    lab = SimulatedLab("", run.WEIGHTS)
    record, world = run.generate(lab, 60, 1, 2000)
    assert record.violation == ""
    assert world.counts.steps >= 2000
