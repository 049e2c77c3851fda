"""Faults below the volumes: their disks stop, become slow, refuse every request or are full (dmsetup, dm-thin)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rig import storage
from rig.agent import Agent, HostFailed
from rig.machine import actions, blocks, invariants
from rig.machine.actions import give, note, planned
from rig.machine.choices import pick, taken, volumes, writable
from rig.machine.faults import busy, fault, under_writes
from rig.machine.world import BACKENDS, Violation, Volume, World
from rig.product import Refused

# Seconds, as a disk needs to reset its link; shorter than the timeout of any initiator's kernel.
STOP_SECONDS, SLOW_SECONDS, SLOW_MS = 5, 5, 200
# Seconds until a pool with free space again must have reported this.
ROOM_SECONDS = 60
# The device of the thin pool that holds the data of all thin volumes.
DATA = storage.device(f"{storage.POOL}_tdata")


@fault(volumes)
def stop_disk(world: World, volume: int, slot: int) -> str:
    """The pool's data device answers no request for some seconds."""
    _need_pool(world)

    def stop() -> None:
        world.storage.run("dmsetup", "suspend", "--noflush", "--nolockfs", DATA)
        time.sleep(STOP_SECONDS)
        world.storage.run("dmsetup", "resume", DATA)

    return under_writes(world, busy(world, volume), slot, stop)


@fault(volumes)
def slow_disk(world: World, volume: int, slot: int) -> str:
    """Each request to the pool's data device takes a fifth of a second longer."""
    _need_pool(world)

    def slow() -> None:
        _change(world.storage, "delay", str(SLOW_MS))
        time.sleep(SLOW_SECONDS)
        _change(world.storage, "linear")

    return under_writes(world, busy(world, volume), slot, slow)


@fault(writable)
def fail_disk(world: World, volume: int, slot: int) -> str:
    """One volume's disk fails every request, and a flush must fail, too. Attached again, it has all flushed data.

    Violation where the flush succeeds or data are wrong.
    """
    target = pick(writable(world), volume)
    plan = planned(world, target, slot, 4)
    with _refusing(world.storage, storage.device(f"volume-{target.id}", BACKENDS[target.backend])):
        if _written(world, target, plan):
            raise Violation(f"a flush of {target.id} was acknowledged while its disk refused every write")
    return f"{_lost(world, target, plan)}, and is {target.device} of {target.host} now"


def _in_pool(world: World) -> list[Volume]:
    """Volumes that are attached for writing, of the first backend, whose pool is small."""
    return [each for each in writable(world) if each.backend == "lvm"]


@fault(_in_pool)
def fill_pool(world: World, volume: int, slot: int, part: int) -> str:
    """Other LVs fill the pool's data or metadata, and the group has nothing to extend it with.

    New volumes are refused, flushed data stay, and all goes on when there is space again; else Violation.
    """
    target, metadata = pick(_in_pool(world), volume), bool(part % 2)
    invariants.settled(world)
    for each in taken(world):
        world.agents[str(each.host)].run("blockdev", "--flushbufs", each.device, timeout=blocks.IO_SECONDS)
        each.disk.flush()
    plan = planned(world, target, slot, 4)
    with storage.full(world.storage, metadata=metadata):
        _refused(world)
        went = _written(world, target, plan)
    if went:
        note(target, plan, flushed=True)
    else:
        _lost(world, target, plan)
    _until_room(world)
    full, came_of_it = "metadata" if metadata else "data", "fitted" if went else "did not fit"
    return f"{full}; {len(plan)} blocks of {target.id} {came_of_it}"


def _need_pool(world: World) -> None:
    """Skipped unless the pool has a volume: only then its data device exists, and not while LVM makes the first."""
    invariants.settled(world)
    pick(storage.volumes(world.storage), 0)


def _written(world: World, volume: Volume, plan: list[tuple[int, int]]) -> bool:
    """Whether the blocks and a flush after them were acknowledged."""
    try:
        blocks.write(world.agents[str(volume.host)], volume.device, plan, flush=True)
    except HostFailed:
        return False
    return True


def _lost(world: World, volume: Volume, plan: list[tuple[int, int]]) -> str:
    """Attach the volume again after a failed flush; in the model, each block may be the old one or the new one."""
    host = str(volume.host)
    note(volume, plan, flushed=False)
    volume.disk.lose_cache()
    world.transport.detach(world, host, volume.id, lost=True)
    volume.host = None
    world.settle("volumes", volume.id, "available")
    give(world, volume, host)
    actions.check(world, volume)
    return f"{len(plan)} blocks of {volume.id} failed"


def _refused(world: World) -> None:
    """Violation unless a new volume is refused, or its creation fails and leaves nothing."""
    try:
        made = world.call("POST", "volumes", {"volume": {"size": 1}})["volume"]["id"]
    except Refused:
        return
    world.settle("volumes", made, "error")
    if f"volume-{made}" in storage.volumes(world.storage):
        raise Violation(f"volume {made} was refused by a full pool and left its LV")
    world.call("DELETE", f"volumes/{made}")
    world.settle("volumes", made, "gone")


def _until_room(world: World) -> None:
    """Violation unless new volumes can be created again without an administrator."""
    end = time.monotonic() + ROOM_SECONDS
    while time.monotonic() < end:
        with suppress(Refused):
            actions.create(world, 0)
            return
        time.sleep(1)
    raise Violation(f"the pool has room for {ROOM_SECONDS} s, and new volumes are refused")


def _change(agent: Agent, target: str, *more: str) -> None:
    """Change the target in the present table of the pool's data: the pool may have grown since the last change."""
    _load(agent, DATA, [[*row[:2], target, *row[3:5], *more] for row in _table(agent, DATA)])


@contextmanager
def _refusing(agent: Agent, device: str) -> Iterator[None]:
    before = _table(agent, device)
    _load(agent, device, [[*row[:2], "error"] for row in before])
    try:
        yield
    finally:
        _load(agent, device, before)


def _table(agent: Agent, device: str) -> list[list[str]]:
    """The table's rows: begin and length in sectors of 512 bytes, target, and the target's arguments."""
    return [line.split() for line in agent.run("dmsetup", "table", device).out.splitlines()]


def _load(agent: Agent, device: str, rows: list[list[str]]) -> None:
    """Load the table. HostFailed where the kernel refuses it; the device then keeps the old one."""
    table = "\n".join(" ".join(row) for row in rows)
    load = f"dmsetup load {device} <<'END' || refused=yes\n{table}\nEND"
    agent.shell(f'dmsetup suspend --noflush --nolockfs {device}; {load}\ndmsetup resume {device}; test -z "$refused"')
