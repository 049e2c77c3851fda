"""Actions on volumes that are there: attach, write, read, extend, revert, verify, delete."""

from typing import Any

import debian_packages  # noqa: F401 (the next line needs it)
import nbd

from walk import check, choices
from walk.choices import MOST_GIB, action, pick, place, prefer, snapshots_of
from walk.disk import content
from walk.seasoning import season, write_ends
from walk.world import Attached, Snapshot, Violation, Volume, World

# Largest request that the export wants, so that a longer one is sent as several.
REQUEST = 4 << 20


@action(3, choices.free)
def attach(world: World, volume: int, mode: int) -> str:
    """To stay attached; a fifth of the times for reading only, which is all that a read-only volume allows."""
    target = choices.near(world, choices.free(world), volume)
    if target.readonly and mode % 5:
        if not world.refused(lambda: world.attach(target, writes=True)):
            raise Violation(f"volume {target.id} is read-only and may be attached for writing")
        return f"{target.id} is read-only: refused"
    made = world.attach(target, writes=mode % 5 != 0)
    check.read_attached(target, made)
    return f"{target.id} by {made.id}{'' if made.writes else ', read-only'}"


@action(1, choices.taken)
def attach_again(world: World, volume: int, mode: int) -> str:
    """Another time what is attached: refused, but for what may be attached several times."""
    target = choices.near(world, choices.taken(world), volume)
    if target.many and not target.readonly:
        made = world.attach(target, writes=mode % 3 != 0)
        check.read_attached(target, made)
        return f"{target.id} by {made.id} too"
    body = {"attachment": {"volume_uuid": target.id, "connector": {"host": "other", "ip": "127.0.0.2"}}}
    if not world.refused(lambda: world.client.post("attachments", body=body)):
        raise Violation(f"volume {target.id} is attached, and another host got it too")
    return f"{target.id} is refused"


@action(2, choices.taken)
def detach(world: World, volume: int, which: int) -> str:
    target = choices.near(world, choices.taken(world), volume)
    given_back = pick(list(target.attached.values()), which)
    check.read_attached(target, given_back)
    world.detach(target, given_back)
    return f"{target.id} from {given_back.id}"


@action(8, choices.writable)
def write(world: World, volume: int, where: int, side: int, length: int, flushed: int) -> str:
    """At a border or where something was written; what is attached for writing is preferred."""
    target = choices.near(world, choices.writable(world), volume, choices.involved(world))
    offset, long = place(target, where, side, length)
    data = content(world.next_value(), offset, long)
    with world.borrowed(target, writes=True) as attached:
        for at, size in _requests(offset, long):
            attached.connection.pwrite(data[at - offset :][:size], at, nbd.CMD_FLAG_FUA if flushed % 3 == 2 else 0)
        if flushed % 3 == 1:
            attached.connection.flush()
    target.disk.write(offset, data)
    return f"{long} bytes at {offset} of {target.id}"


def _requests(offset: int, length: int) -> list[tuple[int, int]]:
    return [(at, min(REQUEST, offset + length - at)) for at in range(offset, offset + length, REQUEST)]


@action(3, choices.writable)
def zero(world: World, volume: int, where: int, side: int, length: int, hole: int) -> str:
    # Mostly ranges that hold data: zeroing zeros tests nothing.
    target = choices.near(world, choices.writable(world), volume, choices.written(world))
    offset, long = place(target, where if where % 4 == 0 else where | 1, side, length)
    with world.borrowed(target, writes=True) as attached:
        attached.connection.zero(long, offset, nbd.CMD_FLAG_NO_HOLE if hole % 2 else 0)
    target.disk.zero(offset, long)
    return f"{long} bytes at {offset} of {target.id}"


@action(1, choices.writable)
def trim(world: World, volume: int, where: int, side: int, length: int) -> str:
    """Each byte is zero or what it was, and stays so; the protocol leaves open which."""
    target = choices.near(world, choices.writable(world), volume, choices.written(world))
    offset, long = place(target, where, side, length)
    with world.borrowed(target, writes=True) as attached:
        if not attached.connection.can_trim():
            return "no trims here"
        attached.connection.trim(long, offset)
        found = b"".join(bytes(attached.connection.pread(size, at)) for at, size in _requests(offset, long))
    before = target.disk.read(offset, long)
    if any(new and new != old for new, old in zip(found, before, strict=True)):
        raise Violation(f"volume {target.id}: a trim of {long} bytes at {offset} made something else of them")
    target.disk.write(offset, found)
    return f"{long} bytes at {offset} of {target.id}"


@action(1, lambda world: [volume for volume in choices.taken(world) if _readers(volume)])
def write_read_only(world: World, volume: int, where: int, side: int) -> str:
    target = pick([volume for volume in choices.taken(world) if _readers(volume)], volume)
    offset, long = place(target, where, side, 0)
    try:
        pick(_readers(target), where).connection.pwrite(content(world.next_value(), offset, long), offset)
    except nbd.Error:
        return f"{target.id} refused it"
    raise Violation(f"volume {target.id} is attached read-only and took a write")


def _readers(volume: Volume) -> list[Attached]:
    return [each for each in volume.attached.values() if not each.writes]


@action(2, choices.volumes)
def read(world: World, volume: int) -> str:
    """All of it, by each of its attachments."""
    target = choices.near(world, world.volumes, volume)
    for each in target.attached.values():
        check.read_attached(target, each)
    if not target.attached:
        check.read_volume(world, target)
    return target.id


@action(1, choices.snapshots)
def read_snapshot(world: World, number: int) -> str:
    target = prefer(choices.outdated(world), world.snapshots, number)
    check.read_snapshot(world, target)
    return target.id


@action(1, choices.free)
def flag(world: World, volume: int) -> str:
    """The read-only flag is set or taken away: from then on whoever attaches it may only read, or may write again."""
    target = choices.near(world, choices.free(world), volume)
    target.readonly = not target.readonly
    world.client.act("volumes", target.id, "os-update_readonly_flag", {"readonly": target.readonly})
    target.row["metadata"] = {**target.row["metadata"], "readonly": str(target.readonly)}
    return f"{target.id} is {'read-only' if target.readonly else 'writable'}"


@action(3, choices.growable)
def extend(world: World, volume: int, more: int, how: int, after: int) -> str:
    """What is new reads as zeros, also through connections that are there."""
    target = choices.near(world, choices.growable(world), volume, choices.involved(world))
    season(world, target, how)
    size = min(MOST_GIB, target.disk.size + 1 + (more % 4 == 0))
    world.client.act("volumes", target.id, "os-extend", {"new_size": size})
    world.between()
    status = "in-use" if target.attached else "available"
    if world.settle("volumes", target.id, status):
        target.disk.grow(size)
    else:
        world.client.act("volumes", target.id, "os-reset_status", {"status": status})
        target.disk.most = max(size, target.disk.most)
    world.reconnect(target)
    check.read_volume(world, target)
    if after % 2 and target in choices.writable(world):
        write_ends(world, target, after // 2)
    return f"{target.id} to {target.disk.size} GiB"


@action(4, choices.revertible)
def revert(world: World, volume: int, how: int, after: int) -> str:
    """What was written since is gone, also where it was written to what the snapshot has nothing of; then it is written again."""
    target = choices.near(world, choices.revertible(world), volume, choices.differing(world, world.volumes))
    saved = snapshots_of(world, target)[-1]
    season(world, target, how)
    world.client.act("volumes", target.id, "revert", {"snapshot_id": saved.id})
    world.between()
    if not world.settle("volumes", target.id, "available"):
        world.client.act("volumes", target.id, "revert", {"snapshot_id": saved.id})
        world.settle("volumes", target.id, "available")
    target.disk.blocks, target.recorded = dict(saved.disk.blocks), saved.recorded
    check.read_volume(world, target)
    if after % 2 and target in choices.writable(world):
        write_ends(world, target, after // 2)
    return f"{target.id} to {saved.id}"


@action(1, lambda world: [each for each in choices.volumes(world) if len(snapshots_of(world, each)) > 1])
def revert_to_older(world: World, volume: int) -> str:
    """Only the newest one is allowed."""
    able = [each for each in choices.volumes(world) if len(snapshots_of(world, each)) > 1]
    target = pick(able, volume)
    body = {"snapshot_id": snapshots_of(world, target)[0].id}
    if not world.refused(lambda: world.client.act("volumes", target.id, "revert", body)):
        raise Violation(f"volume {target.id} may be reverted to a snapshot that is not its newest")
    return f"{target.id} is refused"


@action(3, choices.free)
def verify(world: World, volume: int, record: int) -> str:
    """Digests are right or not there: a difference is found only where there is one, and new ones are right."""
    target = choices.near(world, choices.free(world), volume, [each for each in world.volumes if each.recorded])
    said = check.verify_digests(world, target, record=record % 3 == 0)
    return f"{target.id}: {said or 'as recorded'}"


@action(2, choices.snapshots)
def delete_snapshot(world: World, number: int, how: int) -> str:
    """Its volume, and what was made of it, are as they were."""
    target = pick(world.snapshots, number)
    volume = next(each for each in world.volumes if each.id == target.volume)
    season(world, volume, how)
    check.read_snapshot(world, target)
    _delete(world, "snapshots", target)
    world.snapshots.remove(target)
    check.read_volume(world, volume)
    return target.id


@action(2, choices.free)
def delete_volume(world: World, volume: int, cascade: int) -> str:
    """Whole to the last: it is read before. With its snapshots half of the times, else refused where it has any."""
    target = choices.near(world, choices.free(world), volume)
    saved = snapshots_of(world, target)
    check.read_volume(world, target)
    if saved and cascade % 2:
        if not world.refused(lambda: world.client.delete("volumes", target.id)):
            raise Violation(f"volume {target.id} has snapshots and may not be deleted")
        return f"{target.id} has snapshots and stays"
    _delete(world, "volumes", target, cascade=True)
    world.volumes.remove(target)
    world.snapshots[:] = [each for each in world.snapshots if each.volume != target.id]
    return f"{target.id} and {len(saved)} snapshots"


def _delete(world: World, noun: str, target: Volume | Snapshot, **how: Any) -> None:
    world.client.delete(noun, target.id, **how)
    world.between()
    if world.settle(noun, target.id, "gone"):
        return
    world.client.act(noun, target.id, "os-reset_status", {"status": "error"})
    if how:
        for row in world.client.get("snapshots", volume_id=target.id)["snapshots"]:
            world.client.act("snapshots", row["id"], "os-reset_status", {"status": "error"})
    world.client.delete(noun, target.id, **how)
    world.settle(noun, target.id, "gone")


def empty(world: World) -> None:
    """For the next sequence. It is part of the test: what cannot be deleted is a fault."""
    world.plan({})
    for volume in choices.taken(world):
        for attached in list(volume.attached.values()):
            world.detach(volume, attached)
    for volume in list(world.volumes):
        _delete(world, "volumes", volume, cascade=True)
    for path in world.image_folder.glob("*-*"):
        path.unlink()
    world.volumes, world.snapshots, world.images = [], [], {}
