"""Power cuts of the storage host while volumes are written and operations are on their way."""

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

# A cut comes this long after the writes and the operations began: in the middle of them, or between two.
LATEST_SECONDS = 4.0
VOLUMES, SNAPSHOTS = 6, 4


@dataclass
class Writer:
    """Writes and flushes block after block to one volume until it is stopped stop; what was flushed is durable."""

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
    """What a series of cuts came to."""

    cuts: int = 0
    acknowledged: int = 0
    operations: int = 0
    longest: float = 0.0


def prepare(world: World) -> None:
    """A volume for each host, attached and to be written all the time."""
    for number, host in enumerate(world.hosts):
        volume = actions.ready(world, world.volumes[-1]) if actions.create(world, number) else None
        assert volume is not None
        actions.give(world, volume, host)


def one(world: World, chance: random.Random, tally: Tally) -> None:
    """One cut: writes and operations begin, power goes and comes, and everything is as it should be without any help."""
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
    """Each export serves again: its writer has got on."""
    end = time.monotonic() + blocks.IO_SECONDS
    while any(w.acknowledged == count and not w.failure for w, count in zip(writers, before, strict=True)):
        if time.monotonic() > end:
            raise Violation("an export does not serve again after the storage host's power cut")
        time.sleep(0.2)


def _begin(world: World, chance: random.Random) -> list[str]:
    """One or two requests that are answered with 202 and not waited for, so that the cut meets them on their way."""
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
    """Things to make as long as there are few, things to delete otherwise."""
    made = ["create"] * (len(world.volumes) < VOLUMES) + ["snapshot"] * (len(world.snapshots) < SNAPSHOTS)
    return [*made, *(["delete"] * bool(choices.free(world))), *(["delete_snapshot"] * bool(world.snapshots)), "extend"]


def _create(world: World, chance: random.Random) -> None:
    source = chance.choice([None, *world.snapshots])
    if source is None:
        actions.create_several(world, 0)
    else:
        actions.request(world, source.disk.copy(), snapshot_id=actions.ready(world, source).id)


def _delete(world: World, chance: random.Random) -> None:
    """Of a volume without snapshots; requested, and gone at once as far as the model goes."""
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
    """Of a volume that is not being written, so that its expected bytes are known."""
    actions.ask_snapshot(world, actions.ready(world, choices.pick(choices.free(world), chance.randrange(99))))


def _extend(world: World, chance: random.Random) -> None:
    target = choices.pick([v for v in choices.free(world) if v.disk.size < choices.MAX_GIB], chance.randrange(99))
    world.act("volumes", actions.ready(world, target).id, "os-extend", {"new_size": target.disk.size + 1})
    target.disk.size += 1
    target.pending = True


_REQUESTS = {"create": _create, "delete": _delete, "delete_snapshot": _delete_snapshot, "snapshot": _snapshot,
             "extend": _extend}  # fmt: skip
