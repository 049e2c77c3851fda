"""Actions that disturb: the service is killed, servers die, the backend fails, requests race."""

import threading
import time
from collections.abc import Callable

from nbdsvc import errors
from nbdsvc.exports.nbd import processes
from walk import choices
from walk.choices import action, pick
from walk.world import Violation, Volume, World, local

_VERBS = ("create_volume", "create_cloned_volume", "create_volume_from_snapshot", "create_snapshot", "extend_volume",
          "revert_to_snapshot", "delete_volume", "delete_snapshot")  # fmt: skip


@action(1, choices.volumes)
def fault(world: World, verb: int, when: int) -> str:
    """The next time, the backend fails."""
    name, moment = pick(list(_VERBS), verb), pick(["before", "after"], when)
    world.plan({name: [{"error": "CommandFailed", "when": moment, "times": 1}]})
    return f"{moment} {name}"


@action(1, choices.volumes)
def kill(world: World) -> str:
    """The service dies and comes back, on the host of the last volume; nothing of the model changes."""
    world.restart()
    return "the service"


@action(1, choices.volumes)
def kill_during(world: World, verb: int, when: int) -> str:
    """The next operation that uses this verb of the backend takes longer, and the service dies during the next operation."""
    name, moment = pick(list(_VERBS), verb), pick(["before", "after"], when)
    world.plan({name: [{"error": None, "when": moment, "times": 1, "delay": 0.3}]})
    world.dies_next = True
    return f"the service, at the next request; {moment} {name}"


@action(1, choices.volumes)
def cancel_during(world: World, verb: int, when: int) -> str:
    """The next operation is cancelled while it is under way, and longer so where it uses this verb: it is done or undone."""
    name, moment = pick(list(_VERBS), verb), pick(["before", "after"], when)
    world.plan({name: [{"error": None, "when": moment, "times": 1, "delay": 0.3}]})
    world.cancels_next = True
    return f"the next request; {moment} {name}"


@action(1, choices.taken)
def server_dies(world: World, volume: int, which: int) -> str:
    """The service starts another one, which serves the same bytes at the same place."""
    target = choices.near(world, choices.taken(world), volume)
    attached = pick(list(target.attached.values()), which)
    processes.end(world.state(target.store) / "exports", attached.id)
    world.reconnect(target)
    return f"of {attached.id}, volume {target.id}"


@action(1, choices.free)
def race(world: World, volume: int) -> str:
    """Several requests on one volume at the same moment: each is done whole or refused."""
    target = choices.near(world, choices.free(world), volume)
    world.plan({})  # otherwise the order of the operations would decide which one meets the fault
    wanted = target.disk.size + 1
    asks = [lambda: world.client.act("volumes", target.id, "os-extend", {"new_size": wanted}) for _ in range(2)]
    asks.append(lambda: world.client.act("volumes", target.id, "os-reserve"))
    threads = [threading.Thread(target=_attempt, args=(each,)) for each in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.service.settle()
    shown = world.client.get("volumes", target.id)["volume"]
    if shown["status"] == "attaching":
        world.client.act("volumes", target.id, "os-unreserve")
    if shown["size"] not in (target.disk.size, wanted):
        raise Violation(f"volume {target.id} has {shown['size']} GiB")
    target.disk.grow(shown["size"])
    return f"{target.id} has {shown['size']} GiB and was {shown['status']}"


def _attempt(ask: Callable[[], object]) -> None:
    try:
        ask()
    except errors.RequestError:
        pass


@action(1, choices.free)
def detach_while_uploading(world: World, volume: int, first: int, second: int) -> str:
    """While an upload of the volume is under way, and whatever happens meanwhile: access ends, and nothing serves it."""
    target = choices.near(world, choices.free(world), volume)
    connector = {**local(target), "mode": "ro" if target.readonly else "rw"}
    body = {"attachment": {"volume_uuid": target.id, "connector": connector}}
    attachment = str(world.client.post("attachments", body=body)["attachment"]["id"])
    target.recorded = target.recorded and target.readonly
    world.client.act("attachments", attachment, "os-complete")
    world.client.act("volumes", target.id, "os-volume_upload_image", {"image_name": "up", "force": True})
    events = [pick(["kill", "server dies", "wait", "nothing"], each) for each in (first, second)]
    for event in events:
        _happen(world, target, event, attachment)
    world.client.delete("attachments", attachment)
    _unserved(world, target, attachment)
    world.service.settle()
    _unserved(world, target, attachment)
    for path in world.image_folder.glob("*-*"):
        if path.stem not in world.images:
            path.unlink()
    return f"{target.id}: {', '.join(events)}"


def _happen(world: World, volume: Volume, event: str, attachment: str) -> None:
    if event == "kill":
        world.restart()
    elif event == "wait":
        time.sleep(0.5)  # the interval of repairs (repair_interval)
    elif event == "server dies":
        processes.end(world.state(volume.store) / "exports", attachment)


def _unserved(world: World, volume: Volume, attachment: str) -> None:
    if attachment in processes.serving(world.state(volume.store) / "exports"):
        raise Violation(f"attachment {attachment} of volume {volume.id} is deleted and served")
