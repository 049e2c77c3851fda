"""What can be done now, and to what: the actions by their names, how often each is drawn, and the lists that they pick from.

An action takes small integers that pick among what is there at the time, so any part of a list of actions is a list of
actions: a walk that went wrong can be cut short and run again. The weights say what a user does often, and that states
are to differ; they are tuned to no fault.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from walk.disk import GiB
from walk.world import ANY, Snapshot, Volume, World

T = TypeVar("T")
Act = Callable[..., str]
# GiB of the largest volume, so that comparing all bytes after each step stays cheap.
MOST_VOLUMES, MOST_SNAPSHOTS, MOST_IMAGES, MOST_GIB = 5, 8, 2, 3


@dataclass(frozen=True)
class Action:
    """act: what is done. needs: something that is empty while it cannot be done. weight: how often it is drawn."""

    act: Act
    needs: Callable[[World], Any]
    weight: int

    @property
    def takes(self) -> tuple[str, ...]:
        """Its parameters after the world: integers."""
        return self.act.__code__.co_varnames[1 : self.act.__code__.co_argcount]


ACTIONS: dict[str, Action] = {}


def action(weight: int, needs: Callable[[World], Any] = lambda _world: True) -> Callable[[Act], Act]:
    """Registers a function by its name."""

    def register(act: Act) -> Act:
        ACTIONS[act.__name__] = Action(act, needs, weight)
        return act

    return register


def pick(things: list[T], number: int) -> T:
    return things[number % len(things)]


def prefer(better: list[T], things: list[T], number: int) -> T:
    """One of the better ones three times of four, where there are any."""
    return pick(better if better and number % 4 else things, number // 4)


def near(world: World, volumes: list[Volume], number: int, better: Iterable[Volume] = ()) -> Volume:
    """One of the volumes, two times of three the one that the last action was about, if it is among them: what happens to
    different volumes does not meet. The others are picked as by `prefer`.
    """
    last = [volume for volume in volumes if volume.id == world.last]
    chosen = (
        last[0] if last and number % 3 else prefer([each for each in better if each in volumes], volumes, number // 3)
    )
    world.last = chosen.id
    return chosen


def volumes(world: World) -> list[Volume]:
    return world.volumes


def snapshots(world: World) -> list[Snapshot]:
    return world.snapshots


def room_for_volume(world: World) -> bool:
    return len(world.volumes) < MOST_VOLUMES


def free(world: World) -> list[Volume]:
    return [volume for volume in world.volumes if not volume.attached]


def loose(world: World) -> list[Volume]:
    """Volumes whose type lets them go anywhere: of a move of the others there is mostly a refusal to see."""
    return [volume for volume in world.volumes if volume.row["volume_type"] == ANY]


def taken(world: World) -> list[Volume]:
    return [volume for volume in world.volumes if volume.attached]


def writable(world: World) -> list[Volume]:
    """Volumes that may be written to: attached so, or to be had so."""
    return [
        volume
        for volume in world.volumes
        if any(each.writes for each in volume.attached.values()) or not (volume.attached or volume.readonly)
    ]


def copyable(world: World) -> list[Volume]:
    """Volumes that a snapshot or a clone can be made of now: without shared blocks, none that is in use."""
    return [volume for volume in world.volumes if volume.store.shares or not volume.attached]


def involved(world: World) -> list[Volume]:
    """Volumes that are attached or have snapshots: of what changes there, more has to be right."""
    saved = {each.volume for each in world.snapshots}
    return [volume for volume in world.volumes if volume.attached or volume.id in saved]


def written(world: World) -> list[Volume]:
    """Volumes that hold anything: a copy of zeros tells little."""
    return [volume for volume in world.volumes if volume.disk.blocks]


def growable(world: World) -> list[Volume]:
    return [volume for volume in world.volumes if volume.disk.size < MOST_GIB]


def snapshots_of(world: World, volume: Volume) -> list[Snapshot]:
    """From the oldest to the newest."""
    return [each for each in world.snapshots if each.volume == volume.id]


def differing(world: World, volumes: list[Volume]) -> list[Volume]:
    """Volumes that read otherwise than their newest snapshot: only of these a snapshot or a revert tells something."""
    newest = {each.volume: each for each in world.snapshots}
    return [each for each in volumes if each.id in newest and not each.disk.same_as(newest[each.id].disk)]


def unsaved(world: World) -> list[Volume]:
    """Volumes that were written to since their newest snapshot, or that have none of what they hold."""
    saved = {each.volume for each in world.snapshots}
    return differing(world, world.volumes) + [
        each for each in world.volumes if each.disk.blocks and each.id not in saved
    ]


def revertible(world: World) -> list[Volume]:
    """Volumes whose newest snapshot has their size: no other is allowed."""
    newest = {each.volume: each for each in world.snapshots}
    return [each for each in free(world) if each.id in newest and newest[each.id].disk.size == each.disk.size]


def outdated(world: World) -> list[Snapshot]:
    """Snapshots that read otherwise than their volume does."""
    now = {volume.id: volume.disk for volume in world.volumes}
    return [each for each in world.snapshots if not now[each.volume].same_as(each.disk)]


def without_snapshots(world: World) -> list[Volume]:
    saved = {each.volume for each in world.snapshots}
    return [each for each in free(world) if each.id not in saved]


# Lengths of a write: bytes, sectors, blocks, and what covers a border of 64 KiB or of 4 MiB whatever it begins with.
LENGTHS = (4096, 65536, 4096, 512, 3 * 4096 + 512, 1, 65536 + 4096, 1 << 20, (4 << 20) + 4096)


def place(volume: Volume, where: int, side: int, length: int) -> tuple[int, int]:
    """(offset, length) of a request that begins at a border, ends there or covers it.

    Borders: begin and end, every GiB (an extension begins at one), those of clusters, digests and pieces of copies, the
    middle, and what was written before.
    """
    size, long = volume.disk.bytes, pick(list(LENGTHS), length)
    written = [number * 4096 for number in sorted(volume.disk.blocks)]
    borders = [0, size, 65536, 4 << 20, 8 << 20, size // 2, *range(GiB, size, GiB), (size // 3) & ~511]
    border = pick(written, where // 2) if written and where % 2 else pick(borders, where // 2)
    begin = border - (0, long, long // 2)[side % 3]
    return max(0, min(begin, size - long)), long
