"""A user's work as actions: a name and small integers, so that a list of them can be saved, shortened and run again.

An integer picks one of the present things (modulo their number); an action without anything to act on is skipped. So
any part of a list of actions is also a list of actions.
"""

from typing import Any, TypeVar

from rig import storage
from rig.agent import HostFailed
from rig.iscsi import wait_until
from rig.machine import blocks
from rig.machine.choices import (
    action,
    free,
    fullest,
    growable,
    near,
    pick,
    taken,
    unchanged,
    volumes,
    writable,
)
from rig.machine.oracle import Disk, block
from rig.machine.world import Snapshot, Violation, Volume, World
from rig.product import STATE, Refused

T = TypeVar("T")
# The image of `from_image`: one block of the oracle, and zeros.
IMAGE, IMAGE_VALUE, BROKEN = "seed.img", 1 << 40, "broken.qcow2"


def ready(world: World, thing: T) -> T:
    """Wait for the creation's end and return the thing. Violation unless it becomes available."""
    assert isinstance(thing, Volume | Snapshot)
    if thing.pending:
        noun = "volumes" if isinstance(thing, Volume) else "snapshots"
        world.settle(noun, thing.id, "available")
        thing.pending = False
    return thing


def request(world: World, disk: Disk, like: Volume | None = None, **body: Any) -> Volume:
    """Request a volume, and add it to the model as pending. like: the volume that it is made of, at whose place it is.
    Refused where the API refuses it.
    """
    made = world.call("POST", "volumes", {"volume": {"size": disk.size, **body}})["volume"]["id"]
    volume = Volume(made, disk, pending=True)
    if like is not None:
        volume.backend, volume.type = like.backend, like.type
    world.volumes.append(volume)
    world.counts.volumes += 1
    return volume


@action()
def create(world: World, size: int) -> str:
    """Create an empty volume."""
    return f"volume {ready(world, request(world, Disk(1 + size % 2))).id}"


@action()
def create_several(world: World, count: int) -> str:
    """Request several volumes at once without waiting, so that later actions meet them."""
    return ", ".join(request(world, Disk(1)).id for _ in range(2 + count % 2))


@action()
def from_image(world: World) -> str:
    """Create a volume of the image."""
    disk = Disk(1)
    disk.write(0, IMAGE_VALUE)
    disk.flush()
    return f"volume {request(world, disk, imageRef=IMAGE).id}"


@action()
def from_broken_image(world: World) -> str:
    """Create a volume of a damaged image. Violation unless it ends in an error and leaves nothing in the pool."""
    made = world.call("POST", "volumes", {"volume": {"size": 1, "imageRef": BROKEN}})["volume"]["id"]
    world.settle("volumes", made, "error")
    if f"volume-{made}" in storage.volumes(world.storage):
        raise Violation(f"creating volume {made} failed and left its LV")
    world.call("DELETE", f"volumes/{made}")
    world.settle("volumes", made, "gone")
    return str(made)


def ask_snapshot(world: World, origin: Volume) -> Snapshot:
    """Request a snapshot of a volume, and add it to the model as pending."""
    body = {"snapshot": {"volume_id": origin.id, "force": True}}
    made = Snapshot(
        world.call("POST", "snapshots", body)["snapshot"]["id"], origin.id, origin.disk.copy(), pending=True
    )
    world.snapshots.append(made)
    return made


@action(free)
def attach(world: World, volume: int, host: int, mode: int) -> str:
    """Attach a volume to a host and read all of it. Violation for a wrong size or a wrong block."""
    wanted = ready(world, near(world, free(world), volume))
    name, read_only = pick(world.hosts, host), mode % 5 == 0
    give(world, wanted, name, "ro" if read_only else "rw")
    wanted.read_only = read_only
    found = int(world.agents[name].run("blockdev", "--getsize64", wanted.device).out)
    if found != wanted.disk.size << 30:
        raise Violation(f"{wanted.device} on {name} has {found} bytes, the volume {wanted.disk.size} GiB")
    return f"{wanted.id} is {wanted.device} of {name}, {check(world, wanted)} blocks as they should be"


def give(world: World, volume: Volume, host: str, mode: str = "rw") -> None:
    """Attach this volume to this host, and note the device in the model. Waits for a service that is away."""
    volume.device = world.patiently(lambda: world.transport.attach(world, host, volume.id, mode))
    volume.host = host


@action(taken)
def detach(world: World, volume: int) -> str:
    """Detach a volume."""
    return put_away(world, near(world, taken(world), volume))


def put_away(world: World, volume: Volume) -> str:
    """Detach a volume, which makes its writes durable. Violation unless it becomes available."""
    host = volume.host
    assert host is not None
    world.transport.detach(world, host, volume.id)
    volume.host = None
    volume.disk.flush()
    world.settle("volumes", volume.id, "available")
    return f"{volume.id} from {host}"


@action(taken)
def write(world: World, volume: int, slot: int, count: int, flushed: int) -> str:
    """Write some blocks; one write of three is not flushed, so that it may be lost with its host. Mostly to a volume
    that reads like its newest snapshot, so that the next snapshot differs.
    """
    target = near(world, (unchanged(world) if volume % 4 else []) or taken(world), volume // 4)
    plan = planned(world, target, slot, 1 + count % 8)
    if target.read_only:
        return _refused(world, target, plan)
    blocks.write(world.agents[str(target.host)], target.device, plan, flush=bool(flushed % 3))
    note(target, plan, flushed=bool(flushed % 3))
    return f"{len(plan)} blocks from slot {plan[0][0]} of {target.id}{', flushed' * bool(flushed % 3)}"


def planned(world: World, volume: Volume, slot: int, count: int) -> list[tuple[int, int]]:
    """The blocks of a write from `slot` on, as (slot, value), each with a new value."""
    return [((slot + each) % volume.disk.slots, world.next_value()) for each in range(count)]


def note(volume: Volume, plan: list[tuple[int, int]], *, flushed: bool) -> None:
    """Record the written blocks in the model; with `flushed` they are durable."""
    for slot, value in plan:
        volume.disk.write(slot, value)
    if flushed:
        volume.disk.flush()


@action(writable)
def zero(world: World, volume: int, slot: int) -> str:
    """Zero one block by BLKZEROOUT and flush; a block that was written, if there is one."""
    target = near(world, fullest(writable(world)), volume)
    place = pick(target.disk.written() or list(range(target.disk.slots)), slot)
    blocks.zero(world.agents[str(target.host)], target.device, place)
    note(target, [(place, 0)], flushed=True)
    return f"slot {place} of {target.id}"


@action(lambda world: len(world.hosts) > 1 and taken(world))
def steal(world: World, volume: int, host: int) -> str:
    """Attach a volume that is attached elsewhere. Violation where that succeeds."""
    target = pick([each for each in taken(world) if each.host != pick(world.hosts, host)], volume)
    name = pick(world.hosts, host)
    try:
        world.patiently(lambda: world.transport.attach(world, name, target.id, "rw"))
    except (HostFailed, Refused) as error:
        if "Invalid volume" not in str(error) and "cannot" not in str(error):
            raise
        return f"{name} does not get {target.id}"
    raise Violation(f"volume {target.id} is attached to {target.host}, and {name} got it too")


def _refused(world: World, volume: Volume, plan: list[tuple[int, int]]) -> str:
    try:
        blocks.write(world.agents[str(volume.host)], volume.device, plan, flush=True)
    except HostFailed:
        return f"{volume.id} is read-only and refused a write"
    raise Violation(f"{volume.id} is attached read-only and took a write")


@action(taken)
def verify(world: World, volume: int) -> str:
    """Read all of a volume, and compare it with the model."""
    target = pick(taken(world), volume)
    return f"{check(world, target)} blocks of {target.id}"


def check(world: World, volume: Volume) -> int:
    """Read each slot, also unwritten ones, because another volume's data must not show; the number of slots.

    Violation for a wrong block.
    """
    slots = list(range(volume.disk.slots))
    found = blocks.read(world.agents[str(volume.host)], volume.device, slots)
    wrong = [text for slot, seen in found.items() if (text := volume.disk.wrong(slot, seen))]
    if wrong:
        raise Violation(f"volume {volume.id} on {volume.host}: {'; '.join(wrong[:5])}")
    world.counts.verified += len(slots) * 4096
    return len(slots)


@action(growable)
def extend(world: World, volume: int) -> str:
    """Extend a volume, attached or not."""
    target = ready(world, near(world, growable(world), volume))
    world.act("volumes", target.id, "os-extend", {"new_size": target.disk.size + 1})
    target.disk.size += 1
    world.settle("volumes", target.id, "in-use" if target.host else "available")
    if target.host:
        _wait_for_size(world, target)
    return f"{target.id} to {target.disk.size} GiB"


def _wait_for_size(world: World, volume: Volume) -> None:
    """Wait until the volume's device has grown on its host. Violation where it does not grow."""
    world.transport.grow(world, str(volume.host))
    wanted = volume.disk.size << 30
    try:
        wait_until(world.agents[str(volume.host)], f"[ $(blockdev --getsize64 {volume.device}) = {wanted} ]")
    except HostFailed:
        raise Violation(f"{volume.device} on {volume.host} does not become {volume.disk.size} GiB large") from None


@action(volumes)
def reset(world: World, volume: int) -> str:
    """An administrator sets the status to `error` and back; nothing else of the volume changes."""
    target = ready(world, pick(world.volumes, volume))
    for status in ("error", "in-use" if target.host else "available"):
        world.act("volumes", target.id, "os-reset_status", {"status": status})
        world.settle("volumes", target.id, status)
    return target.id


def put_image(world: World) -> None:
    """Write the images of volumes to the service's image folder."""
    world.storage.shell(f"mkdir -p -m 700 {STATE}/images")
    world.storage.put(f"{STATE}/images/{IMAGE}", block(0, IMAGE_VALUE) + bytes((1 << 20) - 4096))
    # The first compressed cluster is damaged, which an inspection cannot detect and the copy has to.
    world.storage.shell(
        f"cd {STATE}/images; head -c 1M /usr/bin/python3.11 > raw; qemu-img convert -c -O qcow2 raw {BROKEN}; rm raw;"
        f" dd if=/dev/zero of={BROKEN} bs=1k seek=340 count=32 conv=notrunc status=none"
    )
