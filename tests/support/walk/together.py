"""Several operations on several volumes at once, and in the middle of them the host may be lost, or one may be cancelled.

Each is done as if it was alone: they share copy slots, locks, quotas and pools, and after a loss of the host all of them
go on from where they were.
"""

from collections.abc import Callable

from walk import check, choices
from walk.choices import MOST_GIB, MOST_SNAPSHOTS, MOST_VOLUMES, action, pick
from walk.seasoning import write_ends
from walk.world import Snapshot, Violation, Volume, World

# Waits for the end of what was begun, tells the model, and says what it was.
End = Callable[[], str]
# The most operations that are begun at once.
MOST = 4
_SLOW = (
    "create_volume",
    "create_cloned_volume",
    "create_snapshot",
    "extend_volume",
    "delete_snapshot",
    "revert_to_snapshot",
)


@action(4, choices.free)
def together(world: World, first: int, kinds: int, event: int, when: int, how: int) -> str:
    """A third of the times the host dies with all of them under way, and comes back."""
    world.plan({})
    targets = _targets(world, first)
    for number, target in enumerate(targets):
        if how >> number & 1 and target in choices.writable(world):
            write_ends(world, target, how // 3 + number)
    moment = pick(["before", "after"], when)
    world.plan({verb: [{"error": None, "when": moment, "times": 2, "delay": 0.2}] for verb in _SLOW})
    ends = [_begin(world, target, kinds // 5**number) for number, target in enumerate(targets)]
    if event % 3 == 0:
        world.restart()
    said = [end() for end in ends]
    world.plan({})
    return ", ".join(said) + (", over the loss of the host" if event % 3 == 0 else "")


def _targets(world: World, first: int) -> list[Volume]:
    """Different volumes, of which nothing else is under way."""
    found = choices.free(world)
    start = first % len(found)
    return (found[start:] + found[:start])[:MOST]


def _begin(world: World, target: Volume, number: int) -> End:
    begun = {"extend": _extend, "snapshot": _snapshot, "clone": _clone, "revert": _revert, "verify": _verify}
    able = [name for name, allowed in _allowed(world, target).items() if allowed]
    return begun[pick(able, number)](world, target)


def _allowed(world: World, target: Volume) -> dict[str, bool]:
    """Those of the others that are begun with it count as if they were there: see the room that is left."""
    return {
        "extend": target in choices.growable(world),
        "snapshot": len(world.snapshots) + MOST < MOST_SNAPSHOTS,
        "clone": len(world.volumes) + MOST - 1 < MOST_VOLUMES + 2,
        "revert": target in choices.revertible(world),
        "verify": True,
    }


def _extend(world: World, target: Volume) -> End:
    size = min(MOST_GIB, target.disk.size + 1)
    world.client.act("volumes", target.id, "os-extend", {"new_size": size})

    def end() -> str:
        world.settle("volumes", target.id, "available")
        target.disk.grow(size)
        return f"{target.id} to {size} GiB"

    return end


def _snapshot(world: World, target: Volume) -> End:
    name = f"s{world.next_value()}"
    made = world.post("snapshots", volume_id=target.id, name=name)["id"]
    disk, recorded = target.disk.copy(), target.recorded

    def end() -> str:
        world.settle("snapshots", made, "available")
        world.snapshots.append(Snapshot(made, target.id, target.store, disk, name, recorded))
        return f"snapshot {made} of {target.id}"

    return end


def _clone(world: World, target: Volume) -> End:
    value = world.next_value()
    fields = {"name": f"v{value}", "metadata": {"value": str(value)}}
    made = world.post("volumes", size=target.disk.size, source_volid=target.id, **fields)["id"]
    row = {**target.row, "snapshot_id": None, "source_volid": target.id, **fields}
    volume = Volume(made, target.store, target.disk.copy(), row, recorded=target.recorded)

    def end() -> str:
        world.settle("volumes", made, "available")
        world.volumes.append(volume)
        check.read_volume(world, volume)
        return f"clone {made} of {target.id}"

    return end


def _revert(world: World, target: Volume) -> End:
    saved = choices.snapshots_of(world, target)[-1]
    world.client.act("volumes", target.id, "revert", {"snapshot_id": saved.id})

    def end() -> str:
        world.settle("volumes", target.id, "available")
        target.disk.blocks, target.recorded = dict(saved.disk.blocks), saved.recorded
        return f"{target.id} reverted to {saved.id}"

    return end


def _verify(world: World, target: Volume) -> End:
    world.client.act("volumes", target.id, "nbdsvc-verify", {"record": True})

    def end() -> str:
        world.settle("volumes", target.id, "available")
        ended = world.client.operation_of(target.id)
        if ended["state"] != "succeeded":
            raise Violation(f"verifying volume {target.id} failed: {ended['error']}")
        target.recorded = True
        return f"digests of {target.id}"

    return end
