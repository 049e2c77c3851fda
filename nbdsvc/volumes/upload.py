"""Upload a volume as an image (os-volume_upload_image): of the host's image folder, or of Glance."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.sink import create_qcow2
from nbdsvc.datapath.source import Source
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.image_store import check_limits
from nbdsvc.images.index import Image
from nbdsvc.location import Location
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.refs import read_volume, read_volume_ref
from nbdsvc.store import repositories
from nbdsvc.units import GiB
from nbdsvc.volumes.glance_arguments import glance_args
from nbdsvc.volumes.upload_request import COMPRESSION, UploadVolumeRequest, fail, locks_of, succeed
from nbdsvc.volumes.upload_to_glance import UPLOAD_TO_GLANCE


@dataclass(frozen=True)
class UploadArgs:
    """Arguments of the operation `volume.upload`."""

    volume_id: str
    image_id: str
    image_name: str
    disk_format: str
    visibility: str = "private"
    protected: bool = False
    limits: tuple[int, int] = (-1, -1)
    """How many images the project may have, and how many bytes in them; -1: any."""
    in_use: bool = False
    """The volume is attached while it is copied."""


def upload_volume(app: App, context: Context, id: str, request: UploadVolumeRequest) -> tuple[Volume, str]:
    """Start copying the volume to an image; returns the volume and the image's id.

    Raises InvalidInput (format), Forbidden (public), NotFound, InvalidState, and QuotaExceeded where the project's
    images would be too many or too large for the image folder; of Glance's own limits the operation tells.
    """
    if request.disk_format not in ("raw", "qcow2"):
        raise errors.InvalidInput(field="disk_format", value=request.disk_format, reason="must be raw or qcow2")
    if request.visibility == "public" and not context.is_admin:
        raise errors.Forbidden(reason="Only an administrator may make a public image.")
    rule = states.VOLUME["force upload to image" if request.force else "upload to image"]
    with app.change() as conn:
        before = repositories.volumes.get_for_update(conn, id, owner_scope(context)).status
        volume = repositories.volumes.transition(
            conn, id, rule.sources, "uploading", action="upload", previous_status=before
        )
        image_id, resource = names.new_id(), ("volume", id)
        if app.settings.has_glance:
            there = glance_args(app, volume, image_id, request, in_use=before == "in-use")
            app.submit(conn, context, UPLOAD_TO_GLANCE, there, backend=volume, resource=resource)
        else:
            here = _args(app, volume, image_id, request, in_use=before == "in-use")
            app.submit(conn, context, UPLOAD_VOLUME, here, backend=volume, resource=resource)
    return volume, image_id


def _args(app: App, volume: Volume, image_id: str, request: UploadVolumeRequest, *, in_use: bool) -> UploadArgs:
    limits = app.settings.quota_images, app.settings.quota_image_bytes
    if app.images:
        check_limits(limits, app.images.folder.usage(volume.project_id), volume.size * GiB)
    return UploadArgs(
        volume.id,
        image_id,
        request.name,
        request.disk_format,
        request.visibility,
        request.protected,
        limits,
        in_use=in_use,
    )


def _image(run: Run[UploadArgs]) -> Image:
    args, volume = run.args, read_volume(run, run.args.volume_id)
    return Image(
        id=args.image_id,
        name=args.image_name,
        disk_format=args.disk_format,
        virtual_size=volume.size * GiB,
        owner=run.id,
        project_id=volume.project_id,
        visibility=args.visibility,
        protected=args.protected,
    )


def _write_image(run: Run[UploadArgs]) -> None:
    volume = backend_of(run).driver.location(read_volume_ref(run, run.args.volume_id))
    image = _image(run)
    with sources.open(volume) as source:
        write_image(run, source, image, run.args.limits)
    host_of(run).images.folder.commit(image)


def write_image(run: Run[Any], source: Source, image: Image, limits: tuple[int, int]) -> None:
    """Write the bytes of a new image, raw or qcow2, which is still to be committed. limits: as of ImageFolder.begin.

    Raises QuotaExceeded, ReadFailed, WriteFailed, and what `run.raise_if_stopped` raises.
    """
    target = host_of(run).images.folder.begin(image, limits)
    if image.disk_format == "raw":
        _write_raw(run, source, target)
    else:
        _write_qcow2(run, source, target)


def _undo_write_image(run: Run[UploadArgs]) -> None:
    host_of(run).images.folder.remove(run.args.image_id, run.id)
    journaled_copy.remove_journal(run)


def _write_raw(run: Run[Any], source: Source, target: Path) -> None:
    # The image's file is new, so the journal of an earlier try tells of bytes that are gone.
    journaled_copy.remove_journal(run)
    target.touch(0o600)
    os.truncate(target, source.size)
    journaled_copy.fill(run, source, Location.file(target), source.size, b"upload", empty=True)


def _write_qcow2(run: Run[Any], source: Source, target: Path) -> None:
    """Write from the beginning, also after an interruption: a compressed qcow2 cannot be resumed."""
    with create_qcow2(target, source.size, COMPRESSION) as sink:
        journaled_copy.write_to_sink(run, source, sink)


UPLOAD_VOLUME = OperationType(
    "volume.upload",
    UploadArgs,
    (
        Step("write image", _write_image, _undo_write_image, copies=always),
        Step("tidy", journaled_copy.remove_journal),
    ),
    locks_of("volume.upload"),
    succeed,
    fail,
    modifies=False,
    adds=True,
)
