"""What an administrator does: a backend is frozen, or the host evacuated where nothing can leave it; then it serves again."""

from collections.abc import Callable
from typing import Any

from rig.machine.actions import check, ready
from rig.machine.choices import action, pick, volumes
from rig.machine.world import Violation, Volume, World
from rig.product import Refused


@action(volumes)
def freeze(world: World, volume: int, request: int) -> str:
    """Freeze the volume's backend for a moment. Violation where a change is accepted meanwhile, or a volume in use reads
    wrong.
    """
    target = ready(world, pick(world.volumes, volume))
    host = f"{world.storage.host.name}@{target.backend}"
    world.call("PUT", "os-services/freeze", {"host": host})
    try:
        name = _refused(world, target, request)
        if target.host:
            check(world, target)
    finally:
        world.call("PUT", "os-services/thaw", {"host": host})
    return f"{host}: {name} of {target.id} is refused"


def _refused(world: World, target: Volume, request: int) -> str:
    requests: dict[str, Callable[[], Any]] = {
        "extend": lambda: world.act("volumes", target.id, "os-extend", {"new_size": target.disk.size + 1}),
        "snapshot": lambda: world.call("POST", "snapshots", {"snapshot": {"volume_id": target.id, "force": True}}),
        "delete": lambda: world.call("DELETE", f"volumes/{target.id}"),
    }
    name = pick(sorted(requests), request)
    try:
        requests[name]()
    except Refused:
        return name
    raise Violation(f"the backend of volume {target.id} is frozen, and {name} is accepted")


@action(volumes)
def evacuate(world: World) -> str:
    """Evacuate the only host. Violation unless every volume stays, for the reason that it has, and is as it was."""
    for each in world.things:
        ready(world, each)
    host = world.storage.host.name
    found = world.call("PUT", "os-services/evacuate", {"host": host})["evacuation"]["volumes"]
    world.call("PUT", "os-services/enable", {"host": host})
    obstacles = {each["id"]: each["obstacle"] for each in found}
    wrong = {
        each.id: obstacles.get(each.id) for each in world.volumes if obstacles.get(each.id) != _obstacle(world, each)
    }
    if wrong:
        raise Violation(f"of an evacuation of {host} it is said that these stay for {wrong}")
    return f"{host}: {len(obstacles)} volumes stay"


def _obstacle(world: World, volume: Volume) -> str:
    if any(each.volume == volume.id for each in world.snapshots):
        return "snapshots"
    return "attached" if volume.host else "room"
