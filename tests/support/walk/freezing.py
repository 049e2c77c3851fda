"""Freezes: what would change a frozen backend is refused, and what is there is used as before."""

from collections.abc import Callable
from typing import Any

from walk import check, choices
from walk.choices import action, pick
from walk.world import Violation, Volume, World


@action(1, choices.volumes)
def freeze(world: World, volume: int, first: int, second: int, dies: int) -> str:
    """The backend of a volume for a moment, over which the service dies a third of the times: two requests are refused, and
    the volume reads as before. Everything else is compared after the thaw, as after each action.
    """
    target = choices.near(world, choices.volumes(world), volume)
    host = target.store.service
    world.client.put("os-services", "freeze", body={"host": host})
    world.between(undone=False)
    refusals = [_refused(world, target, number) for number in (first, second)]
    if dies % 3 == 0:
        world.restart()
        world.reconnect(target)
        refusals += [_refused(world, target, first)]
    with world.borrowed(target) as attached:
        check.read_attached(target, attached)
    world.client.put("os-services", "thaw", body={"host": host})
    return f"{host}: {', '.join(refusals)} of {target.id}"


def _refused(world: World, target: Volume, number: int) -> str:
    """The name of the request. Violation where it is accepted."""
    client, id = world.client, target.id
    requests: dict[str, Callable[[], Any]] = {
        "extend": lambda: client.act("volumes", id, "os-extend", {"new_size": target.disk.size + 1}),
        "delete": lambda: client.delete("volumes", id, cascade=True),
        "force delete": lambda: client.act("volumes", id, "os-force_delete"),
        "snapshot": lambda: world.post("snapshots", volume_id=id, force=True),
        "clone": lambda: world.post("volumes", source_volid=id),
        "rename": lambda: client.put("volumes", id, body={"volume": {"name": "frozen"}}),
        "unmanage": lambda: client.act("volumes", id, "os-unmanage"),
    }
    name = pick(sorted(requests), number)
    if not world.refused(requests[name]):
        raise Violation(f"the backend of volume {id} is frozen, and {name} is accepted")
    return name
