"""Power cuts of the storage host while volumes are written and operations run."""

import random
import threading
import time
from dataclasses import dataclass, field

from rig import machines
from rig.agent import HostFailed
from rig.log import log
from rig.machine import actions, blocks, choices, invariants
from rig.machine.choices import Skipped
from rig.machine.world import Violation, Volume, World

# Seconds from the begin of writes and operations to the cut, which hits one of them or comes between two.
LATEST_SECONDS = 4.0
VOLUMES, SNAPSHOTS = 6, 4


@dataclass
class Writer:
    """Writes and flushes block after block to one volume until `stop`; flushed blocks are durable in the model."""

    world: World
    volume: Volume
    acknowledged: int = 0
    longest: float = 0.0
    failure: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        agent, slot = self.world.agents[str(self.volume.host)], 0
        try:
            while not self._stop.is_set():
                slot, began = slot + 1, time.monotonic()
                plan = actions.planned(self.world, self.volume, slot, 2)
                blocks.write(agent, self.volume.device, plan, flush=True)
                actions.note(self.volume, plan, flushed=True)
                self.acknowledged += 1
                self.longest = max(self.longest, time.monotonic() - began)
        except HostFailed as error:
            self.failure = str(error)

    def stop(self) -> None:
        """Stop and wait for the last write. Violation where a write failed."""
        self._stop.set()
        self._thread.join()
        if self.failure:
            raise Violation(f"a write to {self.volume.id} failed: {self.failure}")


@dataclass
class Tally:
    """The figures of a series of cuts. longest: seconds of the longest write."""

    cuts: int = 0
    acknowledged: int = 0
    operations: int = 0
    longest: float = 0.0


def prepare(world: World) -> None:
    """Create a volume for each host and attach it, for the writers."""
    for number, host in enumerate(world.hosts):
        volume = actions.ready(world, world.volumes[-1]) if actions.create(world, number) else None
        assert volume is not None
        actions.give(world, volume, host)


def one(world: World, chance: random.Random, tally: Tally) -> None:
    """One power cut during writes and operations. Violation unless all recovers without an administrator."""
    writers = [Writer(world, volume) for volume in choices.taken(world)]
    begun = _begin(world, chance)
    time.sleep(chance.uniform(0, LATEST_SECONDS))
    machines.power_cut("storage")
    machines.power_on(world.storage)
    before = [writer.acknowledged for writer in writers]
    invariants.settled(world)
    _until_written(writers, before)
    for writer in writers:
        writer.stop()
        actions.check(world, writer.volume)
        tally.acknowledged += writer.acknowledged
        tally.longest = max(tally.longest, writer.longest)
    invariants.expensive(world)
    tally.cuts += 1
    tally.operations += len(begun)
    log(f"cut {tally.cuts} amid {', '.join(begun) or 'writes only'}: {sum(w.acknowledged for w in writers)} flushes kept;"
        f" longest {max(w.longest for w in writers):.1f} s")  # fmt: skip


def _until_written(writers: list[Writer], before: list[int]) -> None:
    """Wait until each export serves again, that is, until each writer has had a write acknowledged."""
    end = time.monotonic() + blocks.IO_SECONDS
    while any(w.acknowledged == count and not w.failure for w, count in zip(writers, before, strict=True)):
        if time.monotonic() > end:
            raise Violation("an export does not serve again after the storage host's power cut")
        time.sleep(0.2)


def _begin(world: World, chance: random.Random) -> list[str]:
    """Send one or two requests that are answered with 202, without a wait for their end, so that the cut hits them."""
    begun = []
    for _ in range(chance.randint(0, 2)):
        name = chance.choice(_choices(world))
        try:
            _REQUESTS[name](world, chance)
            begun.append(name)
        except Skipped:
            continue
    return begun


def _choices(world: World) -> list[str]:
    """Creations as long as there are few volumes and snapshots, deletions otherwise."""
    made = ["create"] * (len(world.volumes) < VOLUMES) + ["snapshot"] * (len(world.snapshots) < SNAPSHOTS)
    return [*made, *(["delete"] * bool(choices.free(world))), *(["delete_snapshot"] * bool(world.snapshots)), "extend"]


def _create(world: World, chance: random.Random) -> None:
    source = chance.choice([None, *world.snapshots])
    if source is None:
        actions.create_several(world, 0)
    else:
        actions.request(world, source.disk.copy(), snapshot_id=actions.ready(world, source).id)


def _delete(world: World, chance: random.Random) -> None:
    """Request the deletion of a volume without snapshots, and remove it from the model at once."""
    having = {each.volume for each in world.snapshots}
    target = actions.ready(
        world, choices.pick([v for v in choices.free(world) if v.id not in having], chance.randrange(99))
    )
    world.call("DELETE", f"volumes/{target.id}")
    world.volumes.remove(target)
    world.deleting.append(("volumes", target.id))


def _delete_snapshot(world: World, chance: random.Random) -> None:
    target = actions.ready(world, choices.pick(world.snapshots, chance.randrange(99)))
    world.call("DELETE", f"snapshots/{target.id}")
    world.snapshots.remove(target)
    world.deleting.append(("snapshots", target.id))


def _snapshot(world: World, chance: random.Random) -> None:
    """Request a snapshot of a volume that is not being written, so that its expected bytes are known."""
    actions.ask_snapshot(world, actions.ready(world, choices.pick(choices.free(world), chance.randrange(99))))


def _extend(world: World, chance: random.Random) -> None:
    target = choices.pick([v for v in choices.free(world) if v.disk.size < choices.MAX_GIB], chance.randrange(99))
    world.act("volumes", actions.ready(world, target).id, "os-extend", {"new_size": target.disk.size + 1})
    target.disk.size += 1
    target.pending = True


_REQUESTS = {"create": _create, "delete": _delete, "delete_snapshot": _delete_snapshot, "snapshot": _snapshot,
             "extend": _extend}  # fmt: skip
