"""Volumes go to another backend, by a migration or with another type, also while a host writes to them."""

import time
from typing import Any

from rig.machine.actions import check, ready
from rig.machine.choices import action, near, pick
from rig.machine.copies import read_volume
from rig.machine.faults import under_writes
from rig.machine.world import POLL_SECONDS, SETTLE_SECONDS, TYPES, Violation, Volume, World
from rig.product import UNIT, Refused

# States of migration_status in which a move is under way.
_MOVING = ("starting", "migrating", "completing")


def make_types(world: World) -> None:
    """The types of the model. Without one, a volume is created on the first backend."""
    default = world.call("GET", "types/default")["volume_type"]["id"]
    world.call("POST", f"types/{default}/extra_specs", {"extra_specs": _specs("__DEFAULT__")})
    for name in list(TYPES)[1:]:
        world.call("POST", "types", {"volume_type": {"name": name, "extra_specs": _specs(name)}})


def _specs(name: str) -> dict[str, str]:
    backends = TYPES[name]
    return {"volume_backend_name": backends[0]} if len(backends) == 1 else {}


def movable(world: World) -> list[Volume]:
    """Volumes that have no snapshots, and that their transport lets go."""
    return [each for each in world.volumes if not _obstacle(world, each)]


def _drawn(world: World, volume: int) -> Volume:
    """A volume that may go; one of eight times any, which may have to stay."""
    return ready(world, near(world, movable(world) if volume % 8 else world.volumes, volume // 8))


@action(movable)
def migrate(world: World, volume: int, slot: int, more: int) -> str:
    """Migrate a volume to the other backend, one of three with `lock_volume`; one of four times the service is killed
    meanwhile. Violation where it does not arrive with all bytes, or is accepted where it cannot go.
    """
    target = _drawn(world, volume)
    other = _other(target.backend)
    body = {"host": f"{world.storage.host.name}@{other}", "lock_volume": more % 3 == 0}
    obstacle = _obstacle(world, target) or ("its type" if other not in TYPES[target.type] else "")
    if obstacle:
        return _refused(world, target, "os-migrate_volume", body, obstacle)

    def move() -> None:
        world.act("volumes", target.id, "os-migrate_volume", body)
        if more % 4 == 0:
            world.storage.run("systemctl", "kill", "--signal=KILL", UNIT)
        _until_there(world, target, other)

    return _moved(world, target, under_writes(world, _written(target), slot, move))


@action(movable)
def retype(world: World, volume: int, to: int) -> str:
    """Give a volume another type, for which it goes to another backend if it must. Violation as of `migrate`."""
    target = _drawn(world, volume)
    wanted = pick([name for name in TYPES if name != target.type], to)
    body = {"new_type": wanted, "migration_policy": "on-demand"}
    if target.backend in TYPES[wanted]:
        world.act("volumes", target.id, "os-retype", body)
        world.settle("volumes", target.id, "in-use" if target.host else "available")
        target.type = wanted
        return f"{target.id} to {wanted}, in its place"
    if obstacle := ("its host" if target.host else _obstacle(world, target)):
        return _refused(world, target, "os-retype", body, obstacle)
    world.act("volumes", target.id, "os-retype", body)
    target.type = wanted
    _until_there(world, target, _other(target.backend))
    return _moved(world, target, f"for {wanted}")


def _other(backend: str) -> str:
    return "shelf" if backend == "lvm" else "lvm"


def _row(world: World, volume: Volume) -> dict[str, Any]:
    return dict(world.call("GET", f"volumes/{volume.id}")["volume"])


def _obstacle(world: World, volume: Volume) -> str:
    """Why a volume goes nowhere; empty if it may."""
    if any(each.volume == volume.id for each in world.snapshots):
        return "its snapshots"
    return "its transport" if volume.host and not world.transport.mirrors else ""


def _refused(world: World, volume: Volume, name: str, body: dict[str, Any], obstacle: str) -> str:
    try:
        world.act("volumes", volume.id, name, body)
    except Refused:
        return f"{volume.id} stays for {obstacle}"
    raise Violation(f"{name} of volume {volume.id} is accepted in spite of {obstacle}")


def _until_there(world: World, volume: Volume, backend: str) -> None:
    """Violation unless the move succeeds."""
    end = time.monotonic() + SETTLE_SECONDS
    while (found := _row(world, volume)["migration_status"]) in _MOVING:
        if time.monotonic() > end:
            raise Violation(f"volume {volume.id} is {found} since {SETTLE_SECONDS} s: {world.operations(volume.id)}")
        time.sleep(POLL_SECONDS)
    if found != "success":
        raise Violation(f"the move of volume {volume.id} ends as {found}: {world.operations(volume.id)}")
    volume.backend = backend
    world.settle("volumes", volume.id, "in-use" if volume.host else "available")


def _written(volume: Volume) -> Volume | None:
    return volume if volume.host else None


def _moved(world: World, volume: Volume, how: str) -> str:
    slots = check(world, volume) if volume.host else read_volume(world, volume)
    return f"{volume.id} is on {volume.backend} ({how}), {slots} blocks as they should be"
