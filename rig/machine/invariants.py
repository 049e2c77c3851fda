"""The invariants: the cheap ones are checked after every step, all of them at the end of a sequence."""

from typing import Any

from rig import storage
from rig.machine import actions, choices, copies
from rig.machine.world import BACKENDS, PASSING, Violation, Volume, World


def cheap(world: World) -> None:
    """Violation unless rows and quotas agree with the model, without an error status."""
    rows = {row["id"]: row for row in world.call("GET", "volumes/detail?limit=500")["volumes"]}
    wanted = {volume.id for volume in world.volumes}
    if set(rows) != wanted:
        raise Violation(f"volumes that should not be: {set(rows) - wanted}; that are missing: {wanted - set(rows)}")
    for volume in world.volumes:
        status, right = rows[volume.id]["status"], "in-use" if volume.host else "available"
        if status != right and not (volume.pending and status in PASSING):
            raise Violation(f"volume {volume.id} is {status} and should be {right}: {world.operations(volume.id)}")
        if rows[volume.id]["size"] != volume.disk.size:
            raise Violation(f"volume {volume.id} has {rows[volume.id]['size']} GiB and not {volume.disk.size}")
        _place(volume, rows[volume.id])
    _quotas(world)


def _place(volume: Volume, row: dict[str, Any]) -> None:
    backend, kind = str(row["os-vol-host-attr:host"] or "").partition("#")[0].partition("@")[2], row["volume_type"]
    if not volume.pending and (backend, kind) != (volume.backend, volume.type):
        raise Violation(
            f"volume {volume.id} of type {kind} is on {backend}, not on {volume.backend}, and of {volume.type}"
        )


def _quotas(world: World) -> None:
    usage = world.call("GET", "os-quota-sets/rig?usage=True")["quota_set"]
    sizes = sum(each.disk.size for each in world.things)
    wanted = {"volumes": len(world.volumes), "snapshots": len(world.snapshots), "gigabytes": sizes}
    found = {key: usage[key]["in_use"] + usage[key]["reserved"] for key in wanted}
    if found != wanted:
        raise Violation(f"quotas say {found} and should say {wanted}")


def settled(world: World) -> None:
    """Wait until nothing is in flight. Violation unless all volumes and snapshots then have the expected status."""
    for noun, id in world.deleting:
        world.settle(noun, id, "gone")
    world.deleting.clear()
    for thing in world.things:
        actions.ready(world, thing)
    for volume in world.volumes:
        world.settle("volumes", volume.id, "in-use" if volume.host else "available")
    cheap(world)


def expensive(world: World) -> None:
    """As `settled`; and Violation for a wrong byte of an attached volume, or an object without an owner on a host."""
    settled(world)
    for volume in choices.taken(world):
        actions.check(world, volume)
    left = [*_objects(world), *world.transport.wrong_exports(world), *_devices(world)]
    left += world.service.staying()
    if left:
        raise Violation(f"left behind or missing: {', '.join(left[:10])}")


def everything(world: World) -> None:
    """As `expensive`, and for the bytes of volumes that are not attached and of every snapshot."""
    expensive(world)
    for volume in choices.free(world):
        copies.read_volume(world, volume)
    for saved in world.snapshots:
        copies.read_of_snapshot(world, saved)


def _objects(world: World) -> list[str]:
    return [text for backend in BACKENDS for text in _objects_of(world, backend)]


def _objects_of(world: World, backend: str) -> list[str]:
    group = BACKENDS[backend]
    found, here = set(storage.volumes(world.storage, group)), {v.id for v in world.volumes if v.backend == backend}
    wanted = {f"volume-{id}" for id in here} | {
        f"_snapshot-{each.id}" for each in world.snapshots if each.volume in here
    }
    # LVM's selections cannot match a pattern of a tag, so the tags are read and compared here.
    lines = world.storage.shell(f"lvs --noheadings -o lv_name,lv_tags {group}").splitlines()
    marked = {words[0] for words in map(str.split, lines) if any("nbdsvc" in tag for tag in words[1:])}
    return [f"LV {name}" for name in found ^ wanted] + [f"unmarked LV {name}" for name in (found & wanted) - marked]


def _devices(world: World) -> list[str]:
    found = []
    for host in world.hosts:
        listed = world.transport.devices(world.agents[host])
        wanted = {volume.device for volume in choices.taken(world) if volume.host == host}
        found += [f"device {device} of {host}" for device in listed ^ wanted]
    return found
