"""What volume operations do, step by step. Every step looks before it acts (operations/step.py)."""

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.datapath import source as datapath
from nbdsvc.datapath.digests import Digests
from nbdsvc.datapath.sink import create_qcow2
from nbdsvc.images.index import Image
from nbdsvc.images.sources import OpenImage
from nbdsvc.manager import copying, proving, settling
from nbdsvc.manager.app import host_of, snapshot_of, snapshot_ref, volume_of, volume_ref
from nbdsvc.model import states
from nbdsvc.model.context import ADMIN, MEMBER, Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step, always
from nbdsvc.store import nouns, secrets
from nbdsvc.units import GiB, to_gib

# Images go over networks and are read more often than written: zlib, which every reader of qcow2 understands.
UPLOAD_COMPRESSION = "zlib"


# Create


def _allocate(run: Run) -> dict[str, bool]:
    """The object: cloned at once where the backend can, else empty, to be filled by the next step."""
    driver, volume = host_of(run).driver, volume_ref(volume_of(run))
    instant = driver.capabilities.instant_clone
    if run.args["snapshot_id"] and instant:
        driver.create_volume_from_snapshot(volume, snapshot_ref(snapshot_of(run)), run.id)
        proving.pass_on(host_of(run), run.args["snapshot_id"], volume.id)
    elif run.args["source_volid"] and instant:
        driver.create_cloned_volume(volume, volume_ref(volume_of(run, "source_volid")), run.id)
        proving.pass_on(host_of(run), run.args["source_volid"], volume.id)
    else:
        driver.create_volume(volume, run.id)
        return {"filled": not (run.args["snapshot_id"] or run.args["source_volid"] or run.args["image"])}
    return {"filled": True}


def _release(run: Run) -> None:
    proving.forget(host_of(run), run.args["volume_id"])
    host_of(run).driver.delete_volume(volume_ref(volume_of(run)))
    copying.forget(run)


def _is_to_be_filled(run: Run) -> bool:
    return not run.results["allocate"]["filled"]


def _fill(run: Run) -> dict[str, Any] | None:
    """The bytes, where they are not there yet."""
    if run.results["allocate"]["filled"]:
        return None
    return _fill_from_image(run) if run.args["image"] else _fill_from_backend(run)


def _reference(run: Run) -> str:
    """With its credentials, where it has some."""
    with host_of(run).database.read() as conn:
        return secrets.of(conn, run.id) or str(run.args["image"])


def _fill_from_image(run: Run) -> dict[str, Any]:
    host, volume = host_of(run), volume_of(run)
    with host.database.write() as conn:
        settling.volume(conn, volume.id, "creating", "downloading")

    def open_image() -> OpenImage:
        return host.images.open(_reference(run), _for_whom(run, volume), volume.size * GiB, run.should_stop)

    with (
        copying.opened(run, open_image, lambda late: late.source.close()) as image,
        image.source,
        copying.watched(run, image.source),
        image.check,
    ):
        needed = to_gib(image.facts.virtual_size)
        if needed > volume.size:
            raise errors.BadImage(
                image=image.name, reason=f"its virtual size needs {needed} GiB, and the volume has {volume.size} GiB"
            )
        copying.check_room(run, image.source)
        path, digests = host.driver.local_path(volume_ref(volume)), Digests(volume.size * GiB)
        result = copying.fill(run, image.source, path, digests.size, image.fingerprint, empty=True, digests=digests)
        image.check.finish(run.should_stop)
        run.check()
    proving.keep(host, volume.id, digests)
    facts = {"image_id": image.id or "", "image_name": image.name, "disk_format": image.facts.format}
    return {**result, "image": {**facts, "size": str(image.facts.file_size), "container_format": "bare"}}


def _for_whom(run: Run, volume: Volume) -> Context:
    """Who may open the image: where it was judged at admission, its id is enough; else the volume's project."""
    roles = frozenset({ADMIN if run.args.get("image_resolved") else MEMBER})
    return Context(volume.project_id, volume.user_id, roles, "")


def _fill_from_backend(run: Run) -> dict[str, int]:
    host, volume = host_of(run), volume_of(run)
    if run.args["snapshot_id"]:
        path = host.driver.snapshot_path(snapshot_ref(snapshot_of(run)))
    else:
        origin = volume_of(run, "source_volid")
        if origin.status == "in-use":
            raise errors.Unsupported(reason="this backend cannot clone a volume while it is in use")
        path = host.driver.local_path(volume_ref(origin))
    mark = path.name.encode()[-32:]
    with datapath.open_path(path) as source:
        copying.check_room(run, source)
        target = host.driver.local_path(volume_ref(volume))
        result = copying.fill(run, source, target, volume.size * GiB, mark, empty=True)
    proving.pass_on(host, run.args["snapshot_id"] or run.args["source_volid"], volume.id)
    return result


def _tidy(run: Run) -> None:
    copying.forget(run)


def _created(conn: sa.Connection, operation: Operation) -> None:
    image = (operation.results.get("fill") or {}).get("image")
    changes = {"image_metadata": image, "bootable": True} if image else {}
    settling.volume(conn, operation.resource_id, ("creating", "downloading"), "available", **changes)


def _not_created(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.volume(conn, operation.resource_id, ("creating", "downloading"), "error")


# Delete


def _unexport(run: Run) -> None:
    """remove_export always comes first (row S024)."""
    host = host_of(run)
    with host.database.read() as conn:
        attachments = nouns.attachments_of(conn, run.args["volume_id"])
    for attachment in attachments:
        host.exporter.remove_export(attachment.id)


def _delete_snapshots(run: Run) -> None:
    host = host_of(run)
    with host.database.read() as conn:
        found = nouns.snapshots_of(conn, run.args["volume_id"])
    for snapshot in found:
        run.check()
        host.driver.delete_snapshot(snapshot_ref(snapshot))
        proving.forget(host, snapshot.id)


def _delete(run: Run) -> None:
    driver, volume = host_of(run).driver, volume_ref(volume_of(run))
    proving.forget(host_of(run), volume.id)
    if run.args.get("keep"):
        driver.unmanage(volume)
    else:
        driver.delete_volume(volume)


def _deleted(conn: sa.Connection, operation: Operation) -> None:
    for attachment in nouns.attachments_of(conn, operation.resource_id):
        nouns.attachments.delete(conn, attachment.id)
    for snapshot in nouns.snapshots_of(conn, operation.resource_id):
        nouns.snapshots.delete(conn, snapshot.id)
    nouns.volumes.delete(conn, operation.resource_id)


def _not_deleted(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """Busy, or cancelled before anything was removed: as it was. Else it is an error that a repeated delete mends."""
    untouched = isinstance(error, errors.DeviceBusy) or (isinstance(error, errors.Cancelled) and operation.cursor < 1)
    target = states.PREVIOUS if untouched else "error_deleting"
    settling.volume(conn, operation.resource_id, "deleting", target)
    for id in operation.args["snapshot_ids"]:
        settling.snapshot(conn, id, "deleting", "available" if untouched else "error_deleting")


# Extend


def _extend(run: Run) -> None:
    host = host_of(run)
    host.driver.extend_volume(volume_ref(volume_of(run)), run.args["new_size"] * GiB)
    with host.database.read() as conn:
        attachments = nouns.attachments_of(conn, run.args["volume_id"])
    for attachment in attachments:
        if attachment.exported:
            host.exporter.refresh(attachment.id)


def _extended(conn: sa.Connection, operation: Operation) -> None:
    changes = {"size": operation.args["new_size"], "target_size": None}
    settling.volume(conn, operation.resource_id, "extending", states.PREVIOUS, **changes)


def _not_extended(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """Refused because somebody uses it: as it was."""
    target = states.PREVIOUS if isinstance(error, errors.DeviceBusy) else "error_extending"
    settling.volume(conn, operation.resource_id, "extending", target, target_size=None)


# Upload


def _image(run: Run) -> Image:
    volume = volume_of(run)
    return Image(
        id=run.args["image_id"],
        name=run.args["image_name"],
        disk_format=run.args["disk_format"],
        virtual_size=volume.size * GiB,
        owner=run.id,
        project_id=volume.project_id,
        visibility=run.args.get("visibility", "private"),
        protected=run.args.get("protected", False),
    )


def _write_image(run: Run) -> None:
    host = host_of(run)
    volume_path = host.driver.local_path(volume_ref(volume_of(run)))
    image = _image(run)
    target = host.images.folder.begin(image, tuple(run.args.get("limits", (-1, -1))))
    if image.disk_format == "raw":
        _write_raw(run, volume_path, target)
    else:
        _write_qcow2(run, volume_path, target)
    host.images.folder.commit(image)


def _write_raw(run: Run, volume_path: Path, target: Path) -> None:
    # The image was begun anew, so what a journal of an earlier try says is not there any more.
    copying.forget(run)
    with datapath.open_path(volume_path) as source:
        target.touch(0o600)
        os.truncate(target, source.size)
        copying.fill(run, source, target, source.size, b"upload", empty=True)


def _write_qcow2(run: Run, volume_path: Path, target: Path) -> None:
    """Begun anew after an interruption: a packed file cannot be continued, and is no image before it is whole."""
    with datapath.open_path(volume_path) as source, create_qcow2(target, source.size, UPLOAD_COMPRESSION) as sink:
        copying.pack(run, source, sink)


def _remove_image(run: Run) -> None:
    host_of(run).images.folder.remove(run.args["image_id"], run.id)
    copying.forget(run)


def _uploaded(conn: sa.Connection, operation: Operation) -> None:
    settling.volume(conn, operation.resource_id, "uploading", states.PREVIOUS)


def _not_uploaded(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.volume(conn, operation.resource_id, "uploading", states.PREVIOUS)


KINDS = (
    Kind(
        "volume.create",
        (Step("allocate", _allocate, _release), Step("fill", _fill, copies=_is_to_be_filled), Step("tidy", _tidy)),
        _created,
        _not_created,
    ),
    Kind(
        "volume.delete",
        (Step("unexport", _unexport), Step("delete snapshots", _delete_snapshots), Step("delete", _delete)),
        _deleted,
        _not_deleted,
    ),
    Kind("volume.extend", (Step("extend", _extend),), _extended, _not_extended),
    Kind(
        "volume.upload",
        (Step("write image", _write_image, _remove_image, copies=always), Step("tidy", _tidy)),
        _uploaded,
        _not_uploaded,
    ),
)
