"""Copies and deletions: a volume or snapshot is read at once after it was made or reverted, and before it is deleted.

Each slot is read, also of volumes that no host has attached.
"""

from rig.machine.actions import ask_snapshot, check, give, put_away, ready, request
from rig.machine.choices import (
    MAX_GIB,
    action,
    free,
    fullest,
    near,
    newest,
    origin_of,
    outdated,
    pick,
    revertible,
    snapshots,
    unsaved,
    volumes,
)
from rig.machine.world import Snapshot, Violation, Volume, World
from rig.product import Refused


def read_volume(world: World, volume: Volume) -> int:
    """Read a volume, by a temporary attachment if it has none; the number of slots. Violation for a wrong block."""
    if volume.host:
        return check(world, volume)
    give(world, ready(world, volume), world.hosts[0])
    found = check(world, volume)
    put_away(world, volume)
    return found


def read_of_snapshot(world: World, saved: Snapshot) -> int:
    """Read a snapshot by a volume that is made of it and deleted; the number of slots. Violation for a wrong block."""
    ready(world, saved)
    made = ready(world, request(world, saved.disk, origin_of(world, saved), snapshot_id=saved.id))
    found = read_volume(world, made)
    _delete(world, "volumes", made)
    world.volumes.remove(made)
    return found


@action(volumes)
def snapshot(world: World, volume: int) -> str:
    """Take a snapshot of a volume."""
    made = ask_snapshot(world, ready(world, near(world, unsaved(world), volume)))
    return f"snapshot {made.id} of {made.volume}, {read_of_snapshot(world, made)} blocks as they should be"


@action(volumes)
def clone(world: World, source: int, more: int) -> str:
    """Create a volume of another volume."""
    origin = ready(world, near(world, fullest(world.volumes), source))
    disk = origin.disk.copy(min(MAX_GIB, origin.disk.size + more % 2))
    made = request(world, disk, origin, source_volid=origin.id)
    return f"volume {made.id} of {origin.id}, {read_volume(world, made)} blocks as they should be"


@action(snapshots)
def from_snapshot(world: World, source: int, more: int) -> str:
    """Create a volume of a snapshot."""
    origin = ready(world, pick(fullest(outdated(world)), source))
    disk = origin.disk.copy(min(MAX_GIB, origin.disk.size + more % 2))
    made = request(world, disk, origin_of(world, origin), snapshot_id=origin.id)
    return f"volume {made.id} of {origin.id}, {read_volume(world, made)} blocks as they should be"


@action(revertible)
def revert(world: World, volume: int) -> str:
    """Revert a volume to its newest snapshot; it is detached before."""
    target = ready(world, near(world, revertible(world), volume))
    if target.host:
        put_away(world, target)
    saved = ready(world, newest(world)[target.id])
    world.act("volumes", target.id, "revert", {"snapshot_id": saved.id})
    world.settle("volumes", target.id, "available")
    target.disk = saved.disk.copy()
    return f"{target.id} to {saved.id}, {read_volume(world, target)} blocks as they should be"


@action(snapshots)
def read_snapshot(world: World, number: int) -> str:
    """Read a snapshot by a volume of it. Violation for a wrong block."""
    target = pick(fullest(outdated(world)), number)
    return f"{read_of_snapshot(world, target)} blocks of {target.id}"


@action(free)
def delete_volume(world: World, volume: int) -> str:
    """Read and delete a volume. Violation where one with snapshots may be deleted."""
    target = ready(world, pick(free(world), volume))
    if any(each.volume == target.id for each in world.snapshots):
        return _keep(world, target)
    read_volume(world, target)
    _delete(world, "volumes", target)
    world.volumes.remove(target)
    return target.id


def _keep(world: World, target: Volume) -> str:
    try:
        world.call("DELETE", f"volumes/{target.id}")
    except Refused:
        return f"{target.id} has snapshots and stays"
    raise Violation(f"volume {target.id} has snapshots and may not be deleted")


@action(snapshots)
def delete_snapshot(world: World, number: int) -> str:
    """Read and delete a snapshot. Violation for a wrong block."""
    target = pick(world.snapshots, number)
    read_of_snapshot(world, target)
    _delete(world, "snapshots", target)
    world.snapshots.remove(target)
    return target.id


def _delete(world: World, noun: str, thing: Volume | Snapshot) -> None:
    world.call("DELETE", f"{noun}/{thing.id}")
    world.settle(noun, thing.id, "gone")
