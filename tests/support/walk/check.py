"""What must hold: of the rows, of what has no owner, and of every byte; and how a byte is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving import Shown

from walk.compare import export_faults, file_faults
from walk.world import Attached, Snapshot, Violation, Volume, World


def fail_on(faults: list[str]) -> None:
    if faults:
        raise Violation("; ".join(faults[:5]))


def after_step(world: World) -> None:
    """Nothing is in flight, nothing has no owner, every row is as it should be; and every byte, past the product."""
    world.service.settle()
    shown = Shown.by(world.client)
    fail_on([f"left over: {each}" for each in world.leftovers(shown)])
    fail_on(_volume_rows(world, shown) + _snapshot_rows(world, shown) + _attachments(world, shown) + _quotas(world))
    for thing in [*world.volumes, *world.snapshots]:
        fail_on(file_faults(world.path(thing), thing.disk))
        if thing.recorded and not (world.state(thing.store) / "digests" / thing.id).exists():
            raise Violation(f"the digests of {thing.id} were recorded, and are gone")


def everything(world: World) -> None:
    """The same, and every volume and every snapshot as the product serves it."""
    after_step(world)
    for volume in world.volumes:
        read_volume(world, volume)
    for snapshot in world.snapshots:
        read_snapshot(world, snapshot)
    # An extension that fails, or is cancelled, after the object grew leaves it so: no driver shrinks a volume.
    fail_on([f"explain: {each}" for each in world.service.findings("volume.larger")])


def read_volume(world: World, volume: Volume) -> None:
    """By an attachment: one that is there, or a temporary one. Where digests were recorded, the service compares it too."""
    with _quiet(world):
        with world.borrowed(volume) as attached:
            read_attached(volume, attached)
        if volume.recorded and not volume.attached:
            verify_digests(world, volume)


def read_attached(volume: Volume, attached: Attached) -> None:
    fail_on(export_faults(f"volume {volume.id}", attached.connection, volume.disk))


def read_snapshot(world: World, snapshot: Snapshot) -> None:
    """By a volume that is made of it and deleted again."""
    with _quiet(world):
        made = world.post("volumes", snapshot_id=snapshot.id, size=snapshot.disk.size, name="of a snapshot")
        world.settle("volumes", made["id"], "available")
        row = {"volume_type": made["volume_type"]}
        volume = Volume(made["id"], snapshot.store, snapshot.disk.copy(), row, recorded=snapshot.recorded)
        fail_on(file_faults(world.path(volume), volume.disk))
        with world.borrowed(volume) as attached:
            fail_on(export_faults(f"a volume of snapshot {snapshot.id}", attached.connection, volume.disk))
        if snapshot.recorded:
            verify_digests(world, volume)
        world.client.delete("volumes", volume.id)
        world.settle("volumes", volume.id, "gone")


def verify_digests(world: World, volume: Volume, *, record: bool = False) -> str:
    """What the service says of a volume that is free; empty where it is as recorded. A wrong difference is a Violation."""
    world.client.act("volumes", volume.id, "nbdsvc-verify", {"record": record})
    world.between(undone=False)
    world.settle("volumes", volume.id, "available")
    ended = world.client.operation_of(volume.id)
    said = "" if ended["state"] == "succeeded" else str(ended["error"]["message"])
    if said and (volume.recorded or record or "nothing to compare" not in said):
        raise Violation(f"verifying volume {volume.id} failed: {said}")
    volume.recorded = volume.recorded or record
    return said


@contextmanager
def _quiet(world: World) -> Iterator[None]:
    """Without simulated faults: a check is no request of the walk."""
    planned = world.planned
    world.plan({})
    yield
    world.plan(planned)


def _volume_rows(world: World, all_shown: Shown) -> list[str]:
    shown = {row["id"]: row for row in all_shown.volumes}
    wanted = {volume.id: volume for volume in world.volumes}
    return _unequal("volumes", set(shown), set(wanted)) or [
        fault
        for id, volume in wanted.items()
        for fault in _differences(f"volume {id}", {**_row(volume), **_kept(world, shown[id], _KEPT)}, shown[id])
        + _misplaced(world, volume, shown[id])
    ]


def _kept(world: World, shown: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields as they were shown at first: nothing changes them."""
    first = world.first_seen.setdefault(shown["id"], shown)
    return {key: first.get(key) for key in fields}


def _misplaced(world: World, volume: Volume, shown: dict[str, Any]) -> list[str]:
    """The pool that the row names is the one that the file is in."""
    named, there = shown["os-vol-host-attr:host"].partition("#")[2], world.path(volume).parents[1].name
    return [] if named == there else [f"volume {volume.id} is in pool {there}, and its row says {named}"]


def _row(volume: Volume) -> dict[str, Any]:
    status = "in-use" if volume.attached else "available"
    own = {"size": volume.disk.size, "status": status, "multiattach": volume.many}
    return {**volume.row, **own, "attachments": sorted(volume.attached), "os-vol-host-attr:host": volume.store.name}


def _snapshot_rows(world: World, all_shown: Shown) -> list[str]:
    shown = {row["id"]: row for row in all_shown.snapshots}
    wanted = {each.id: each for each in world.snapshots}
    return _unequal("snapshots", set(shown), set(wanted)) or [
        fault
        for id, each in wanted.items()
        for fault in _differences(
            f"snapshot {id}",
            {"size": each.disk.size, "status": "available", "volume_id": each.volume, "name": each.name}
            | {"metadata": each.metadata, **_kept(world, shown[id], _KEPT_OF_SNAPSHOTS)},
            shown[id],
        )
    ]


def _attachments(world: World, all_shown: Shown) -> list[str]:
    shown = {row["id"]: row["volume_id"] for row in all_shown.attachments}
    wanted = {id: volume.id for volume in world.volumes for id in volume.attached}
    return [] if shown == wanted else [f"attachments are {shown} and not {wanted}"]


def _quotas(world: World) -> list[str]:
    usage = world.client.get("os-quota-sets", "p1", usage="true")["quota_set"]
    gigabytes = sum(each.disk.size for each in [*world.volumes, *world.snapshots])
    wanted = {"volumes": len(world.volumes), "snapshots": len(world.snapshots), "gigabytes": gigabytes}
    found = {key: usage[key]["in_use"] + usage[key]["reserved"] for key in wanted}
    return [] if found == wanted else [f"quotas say {found} and not {wanted}"]


def _unequal(noun: str, found: set[str], wanted: set[str]) -> list[str]:
    more, less = sorted(found - wanted), sorted(wanted - found)
    return [f"{noun} too many: {more}, missing: {less}"] if more or less else []


# Fields that no operation of the walk changes.
_KEPT = ("created_at", "user_id", "availability_zone", "encrypted", "consistencygroup_id", "volume_image_metadata",
         "os-vol-tenant-attr:tenant_id", "os-vol-mig-status-attr:name_id")  # fmt: skip
_KEPT_OF_SNAPSHOTS = ("created_at", "user_id", "os-extended-snapshot-attributes:project_id", "group_snapshot_id")


def _differences(name: str, wanted: dict[str, Any], shown: dict[str, Any]) -> list[str]:
    found = {key: _shown(key, shown) for key in wanted}
    return [f"{name}: {key} is {found[key]!r} and not {wanted[key]!r}" for key in wanted if found[key] != wanted[key]]


def _shown(key: str, row: dict[str, Any]) -> Any:
    if key not in row:
        return None
    if key == "attachments":
        return sorted(each["attachment_id"] for each in row[key])
    if key == "os-vol-host-attr:host":
        return row[key].partition("@")[2].partition("#")[0]
    return row[key]
