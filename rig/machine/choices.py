"""The actions by their names, and the lists that they pick from.

An action is registered with its list, so that a run draws no action whose list is empty.
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
    """The action has nothing on which it could act."""


@dataclass(frozen=True)
class Action:
    """A registered action. act: its function. needs: returns an empty value while the action has nothing to act on."""

    act: Act
    needs: Needs

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of the function's parameters after the world: integers."""
        return self.act.__code__.co_varnames[1 : self.act.__code__.co_argcount]


ACTIONS: dict[str, Action] = {}


def nothing(_world: World) -> bool:
    """For Action.needs: the action can always be done."""
    return True


def action(needs: Needs = nothing) -> Callable[[Act], Act]:
    """Registers a function by its name."""

    def register(act: Act) -> Act:
        ACTIONS[act.__name__] = Action(act, needs)
        return act

    return register


def pick(things: list[T], number: int) -> T:
    """One of these, by a drawn number. Raises Skipped where there is none."""
    if not things:
        raise Skipped
    return things[number % len(things)]


def near(world: World, volumes: list[Volume], number: int) -> Volume:
    """One of the volumes; two times of three the one that was picked last, if it is among them, because actions on
    different volumes do not interact.
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


def origin_of(world: World, saved: Snapshot) -> Volume:
    """The volume of a snapshot, without which there is no snapshot."""
    return next(each for each in world.volumes if each.id == saved.volume)


def revertible(world: World) -> list[Volume]:
    """Volumes that differ from their newest snapshot and have its size; the API allows a revert only to such a one."""
    saved = newest(world)
    able = [each for each in world.volumes if each.id in saved and saved[each.id].disk.size == each.disk.size]
    return [each for each in able if saved[each.id].disk.newest != each.disk.newest]


def outdated(world: World) -> list[Snapshot]:
    """Snapshots that differ from their volume (only these show a read of the wrong one); all, if none differs."""
    now = {volume.id: volume.disk.newest for volume in world.volumes}
    return [each for each in world.snapshots if now[each.volume] != each.disk.newest] or world.snapshots


def unsaved(world: World) -> list[Volume]:
    """Volumes that were written to since their newest snapshot; all volumes, if there are none."""
    saved = {id: each.disk.newest for id, each in newest(world).items()}
    return [each for each in world.volumes if saved.get(each.id, {}) != each.disk.newest] or world.volumes


def unchanged(world: World) -> list[Volume]:
    """Attached volumes with the same content as their newest snapshot."""
    saved = newest(world)
    return [each for each in writable(world) if each.id in saved and saved[each.id].disk.newest == each.disk.newest]


def fullest(things: list[Thing]) -> list[Thing]:
    """The things that were ever written to, because a copy of zeros proves little; all, if there are none."""
    return [each for each in things if each.disk.written()] or things
