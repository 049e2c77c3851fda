"""What can be done now, and to what: the actions by their names, and the lists that they pick from.

What an action picks from is said where it is registered: a run draws none that has nothing to pick from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rig.machine.world import Snapshot, Volume, World

Act = Callable[..., str]
Needs = Callable[[World], Any]
T = TypeVar("T")
Thing = TypeVar("Thing", Volume, Snapshot)
# GiB of the largest volume.
MAX_GIB = 3


class Skipped(Exception):
    """There is nothing on which this action could act."""


@dataclass(frozen=True)
class Action:
    """act: what is done. needs: something that is empty while it cannot be done."""

    act: Act
    needs: Needs

    @property
    def takes(self) -> tuple[str, ...]:
        """Its parameters after the world: integers."""
        return self.act.__code__.co_varnames[1 : self.act.__code__.co_argcount]


ACTIONS: dict[str, Action] = {}


def nothing(_world: World) -> bool:
    """What an action needs that can always be done."""
    return True


def action(needs: Needs = nothing) -> Callable[[Act], Act]:
    """Registers a function by its name."""

    def register(act: Act) -> Act:
        ACTIONS[act.__name__] = Action(act, needs)
        return act

    return register


def pick(things: list[T], number: int) -> T:
    """One of these, by a drawn number. Skipped where there is none."""
    if not things:
        raise Skipped
    return things[number % len(things)]


def near(world: World, volumes: list[Volume], number: int) -> Volume:
    """One of the volumes, two times of three the one that was picked last, if it is among them: what is done to different
    volumes never meets.
    """
    last = [volume for volume in volumes if volume.id == world.last]
    chosen = last[0] if last and number % 3 else pick(volumes, number // 3)
    world.last = chosen.id
    return chosen


def volumes(world: World) -> list[Volume]:
    """All volumes of the model."""
    return world.volumes


def snapshots(world: World) -> list[Snapshot]:
    """All snapshots of the model."""
    return world.snapshots


def free(world: World) -> list[Volume]:
    """Volumes that are not attached."""
    return [volume for volume in world.volumes if volume.host is None]


def taken(world: World) -> list[Volume]:
    """Volumes that are attached."""
    return [volume for volume in world.volumes if volume.host is not None]


def writable(world: World) -> list[Volume]:
    """Volumes that are attached for writing."""
    return [volume for volume in taken(world) if not volume.read_only]


def growable(world: World) -> list[Volume]:
    """Volumes that may still be extended."""
    return [volume for volume in world.volumes if volume.disk.size < MAX_GIB]


def newest(world: World) -> dict[str, Snapshot]:
    """The newest snapshot of each volume that has one, by the volume's id."""
    return {each.volume: each for each in world.snapshots}


def revertible(world: World) -> list[Volume]:
    """The API allows only the newest snapshot, and only of the volume's size."""
    saved = newest(world)
    able = [each for each in world.volumes if each.id in saved and saved[each.id].disk.size == each.disk.size]
    return [each for each in able if saved[each.id].disk.newest != each.disk.newest]


def outdated(world: World) -> list[Snapshot]:
    """Those that no longer read as their volume does; all of them, if each does: only these tell who reads which."""
    now = {volume.id: volume.disk.newest for volume in world.volumes}
    return [each for each in world.snapshots if now[each.volume] != each.disk.newest] or world.snapshots


def unsaved(world: World) -> list[Volume]:
    """Volumes that were written to since their newest snapshot; all of them, if none was."""
    saved = {id: each.disk.newest for id, each in newest(world).items()}
    return [each for each in world.volumes if saved.get(each.id, {}) != each.disk.newest] or world.volumes


def unchanged(world: World) -> list[Volume]:
    """Attached volumes that read as their newest snapshot does."""
    saved = newest(world)
    return [each for each in writable(world) if each.id in saved and saved[each.id].disk.newest == each.disk.newest]


def fullest(things: list[Thing]) -> list[Thing]:
    """Those that were ever written to; all of them, if none was: a copy of zeros tells little."""
    return [each for each in things if each.disk.written()] or things
