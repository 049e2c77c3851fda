"""Actions that make volumes and snapshots. What was made is read at once: it reads as its source did at that moment."""

import contextlib
from typing import Any

from walk import check, choices
from walk.choices import MOST_GIB, MOST_IMAGES, MOST_SNAPSHOTS, action, pick, prefer
from walk.compare import image_faults
from walk.disk import BLOCK, Disk, content
from walk.seasoning import season, write_ends
from walk.world import Snapshot, Store, Volume, World


def make(
    world: World,
    store: Store,
    disk: Disk,
    type: str,
    *,
    bootable: bool = False,
    recorded: bool = False,
    **source: Any,
) -> str:
    """A volume of a source, or an empty one, that is read when it is there; a failure is put away."""
    value = world.next_value()
    fields = {"name": f"v{value}", "metadata": {"value": str(value)}, **source}
    made = world.post("volumes", size=disk.size, **fields)["id"]
    world.between()
    if not world.settle("volumes", made, "available"):
        remove(world, "volumes", made)
        return f"{made} failed and is deleted"
    row = {"volume_type": type, "snapshot_id": source.get("snapshot_id"), "source_volid": source.get("source_volid")}
    row |= {"name": fields["name"], "metadata": fields["metadata"], "bootable": str(bootable).lower()}
    volume = Volume(made, store, disk, row, recorded=recorded)
    world.volumes.append(volume)
    world.last = made if world.values % 2 else world.last
    check.read_volume(world, volume)
    return f"{made} of {source}"


def diverge(world: World, source: Volume, how: int) -> None:
    """What was made last and its source are written to: neither may see the other's writes."""
    for volume in (world.volumes[-1], source):
        if how % 2 and volume in choices.writable(world):
            write_ends(world, volume, how // 2)
        how = how // 2 + 1


def remove(world: World, noun: str, id: str) -> None:
    """What is in an error."""
    world.client.delete(noun, id)
    world.settle(noun, id, "gone")


def copied(volume: Volume | Snapshot, more: int) -> Disk:
    return volume.disk.copy(_as_large(volume.disk.size, more % 2))


def _as_large(size: int, more: int) -> int:
    """GiB of a copy: a race may have made its source larger than the walk itself makes any."""
    return max(size, min(MOST_GIB, size + more))


@action(3, choices.room_for_volume)
def blank(world: World, type: int, size: int, how: int) -> str:
    """It holds something at once, two times of three: what is done to zeros tells little."""
    name, count = pick(list(world.types), type), len(world.volumes)
    said = make(world, store_of(world, name), Disk(1 + (size % 3 == 0)), name, volume_type=name)
    if how % 3 and len(world.volumes) > count:
        write_ends(world, world.volumes[-1], how // 3)
    return said


def store_of(world: World, type: str) -> Store:
    """The backend that volumes of this type are on."""
    return next(store for store in world.stores if store.name == world.types[type]["volume_backend_name"])


def _source(world: World, snapshot: Snapshot) -> Volume:
    return next(volume for volume in world.volumes if volume.id == snapshot.volume)


def _like(source: Volume) -> dict[str, Any]:
    return {"type": source.row["volume_type"], "bootable": source.row["bootable"] == "true"}


@action(3, lambda world: choices.room_for_volume(world) and choices.copyable(world))
def clone(world: World, volume: int, more: int, how: int, after: int) -> str:
    source = choices.near(world, choices.copyable(world), volume, choices.written(world))
    season(world, source, how)
    like, count = _like(source), len(world.volumes)
    said = make(world, source.store, copied(source, more), source_volid=source.id, recorded=source.recorded, **like)
    if len(world.volumes) > count:
        diverge(world, source, after)
    return said


@action(6, lambda world: len(world.snapshots) < MOST_SNAPSHOTS and choices.copyable(world))
def snapshot(world: World, volume: int, how: int, after: int) -> str:
    source = choices.near(world, choices.copyable(world), volume, choices.unsaved(world))
    season(world, source, how)
    name = f"s{world.next_value()}"
    made = world.post("snapshots", volume_id=source.id, name=name, force=bool(source.attached))["id"]
    world.between()
    if not world.settle("snapshots", made, "available"):
        remove(world, "snapshots", made)
        return f"{made} failed and is deleted"
    world.snapshots.append(Snapshot(made, source.id, source.store, source.disk.copy(), name, source.recorded))
    if after % 2 and source in choices.writable(world):
        write_ends(world, source, after // 2)
    return f"{made} of {source.id}"


@action(3, lambda world: choices.room_for_volume(world) and world.snapshots)
def from_snapshot(world: World, number: int, more: int, how: int, after: int) -> str:
    source = prefer(choices.outdated(world), world.snapshots, number)
    origin = _source(world, source)
    season(world, origin, how)
    like, count = _like(origin), len(world.volumes)
    said = make(world, source.store, copied(source, more), snapshot_id=source.id, recorded=source.recorded, **like)
    if len(world.volumes) > count:
        diverge(world, origin, after)
    return said


@action(2, lambda world: len(world.images) < MOST_IMAGES and choices.copyable(world))
def upload(world: World, volume: int, format: int, how: int) -> str:
    """An image of what a volume holds."""
    source = choices.near(world, choices.copyable(world), volume, choices.written(world))
    season(world, source, how)
    form = pick(["raw", "qcow2"], format)
    body = {"image_name": "up", "disk_format": form, "force": bool(source.attached)}
    image = world.client.act("volumes", source.id, "os-volume_upload_image", body)["os-volume_upload_image"]["image_id"]
    world.between()
    world.settle("volumes", source.id, "in-use" if source.attached else "available")
    if world.cancelled and image not in [each["id"] for each in world.client.get("images")["images"]]:
        return f"image {image} is cancelled"
    check.fail_on(image_faults(world.image_folder / f"{image}.data", form, source.disk))
    world.images[image] = source.disk.copy()
    return f"image {image} of {source.id}, {form}"


@action(2, lambda world: choices.room_for_volume(world) and world.images)
def from_image(world: World, image: int, type: int, more: int) -> str:
    source, name = pick(sorted(world.images), image), pick(list(world.types), type)
    disk = world.images[source].copy(_as_large(world.images[source].most, int(more % 4 == 0)))
    disk.most = disk.size
    return make(
        world, store_of(world, name), disk, name, bootable=True, recorded=True, imageRef=source, volume_type=name
    )


@action(1, lambda world: world.images)
def forget_image(world: World, image: int) -> str:
    """Volumes that were made of it are as they were."""
    id = pick(sorted(world.images), image)
    for path in world.image_folder.glob(f"{id}*"):
        path.unlink()
    del world.images[id]
    return id


@action(2, choices.room_for_volume)
def manage(world: World, store: int, pool: int, length: int, more: int) -> str:
    """A file that an administrator put into a pool becomes a volume; what is not a whole GiB is made longer, with zeros."""
    where, value = pick(list(world.stores), store), world.next_value()
    folder = pick(list(where.folders), pool)
    disk, odd = Disk(1 + more % 2), 512 * (1 + length) if length % 4 else 0
    disk.write(disk.bytes - odd - BLOCK, content(value, disk.bytes - odd - BLOCK, BLOCK))
    disk.write(0, content(value, 0, 512))
    path = world.state(where) / folder / "volumes" / f"found-{value}"
    with path.open("wb") as file:
        file.write(disk.read(0, 512))
        file.seek(disk.bytes - odd - BLOCK)
        file.write(disk.read(disk.bytes - odd - BLOCK, BLOCK))
    return _managed(world, where, folder, path.name, disk, where.name)


def _managed(world: World, store: Store, folder: str, name: str, disk: Disk, type: str) -> str:
    host, title = store.pool(folder), f"v{world.next_value()}"
    wanted = {"host": host, "ref": {"source-name": name}, "name": title, "volume_type": type}
    made = world.client.post("manageable_volumes", body={"volume": wanted})["volume"]["id"]
    world.between(undone=False)
    world.settle("volumes", made, "available")
    row = {
        "volume_type": type,
        "snapshot_id": None,
        "source_volid": None,
        "name": title,
        "metadata": {},
        "bootable": "false",
    }
    volume = Volume(made, store, disk, row)
    world.volumes.append(volume)
    check.read_volume(world, volume)
    return f"{made} of file {name}"


@action(1, choices.without_snapshots)
def unmanage_and_manage(world: World, volume: int) -> str:
    """Out of the product's hands and back into them: another id, the same bytes."""
    source = choices.near(world, choices.without_snapshots(world), volume)
    path = world.path(source)
    world.client.act("volumes", source.id, "os-unmanage", None)
    world.between(undone=False)
    world.settle("volumes", source.id, "gone")
    world.volumes.remove(source)
    check.fail_on(check.file_faults(path, source.disk))
    disk = source.disk.copy(source.disk.most)
    folder = str(path.parents[1].relative_to(world.state(source.store)))
    return _managed(world, source.store, folder, path.name, disk, source.row["volume_type"])


@action(1, lambda world: world.snapshots)
def unmanage_and_manage_snapshot(world: World, number: int) -> str:
    """The same of a snapshot."""
    source = pick(world.snapshots, number)
    path, name = world.path(source), f"s{world.next_value()}"
    world.client.act("snapshots", source.id, "os-unmanage", None)
    world.between(undone=False)
    world.settle("snapshots", source.id, "gone")
    check.fail_on(check.file_faults(path, source.disk))
    wanted = {"volume_id": source.volume, "ref": {"source-name": path.name}, "name": name}
    made = world.client.post("manageable_snapshots", body={"snapshot": wanted})["snapshot"]["id"]
    world.between(undone=False)
    world.settle("snapshots", made, "available")
    world.snapshots.remove(source)  # only the newest snapshot can be reverted to
    size = max(source.disk.size, path_size(world, source, made))
    world.snapshots.append(Snapshot(made, source.volume, source.store, source.disk.copy(size), name))
    return f"{made}, before {source.id}"


def path_size(world: World, source: Snapshot, made: str) -> int:
    """GiB of a snapshot's file: one of a volume that could not be extended may be longer than its row said."""
    found = Snapshot(made, source.volume, source.store, source.disk)
    with contextlib.suppress(FileNotFoundError):
        return -(-world.path(found).stat().st_size // (1 << 30))
    return 0
