"""The steps of an upload to Glance (upload_to_glance.py)."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from nbdsvc import errors, journaled_copy
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.source import Source
from nbdsvc.host import backend_of, host_of
from nbdsvc.images.glance.client import Glance, refusal
from nbdsvc.images.glance.record import Record
from nbdsvc.images.glance.rest import failed
from nbdsvc.images.glance.sending import Sending
from nbdsvc.images.http.unreachable import Unreachable
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import read_volume_ref
from nbdsvc.volumes.glance_arguments import UploadToGlanceArgs
from nbdsvc.volumes.left_images import delete_image, glance_of
from nbdsvc.volumes.upload_request import COMPRESSION

# The bytes are sent so many times where the connection breaks, with the image as it was in between.
TRIES = 3
# Glance ends what a killed service was sending within seconds.
SETTLE_SECONDS = 60.0
_TICK_SECONDS = 0.5


def _glance(run: Run[UploadToGlanceArgs]) -> Glance:
    return glance_of(host_of(run))


def record(run: Run[UploadToGlanceArgs]) -> None:
    """Make the image, without bytes."""
    args, glance = run.args, _glance(run)
    fields = {
        **args.properties,
        "name": args.image_name,
        "owner": args.owner,
        "disk_format": args.disk_format,
        "container_format": "bare",
        "visibility": args.visibility,
    }
    try:
        glance.create(args.image_id, fields, run.should_stop)
    except errors.Conflict:
        if _own(run, glance).owner != args.owner:
            raise
    run.raise_if_stopped()


def _own(run: Run[UploadToGlanceArgs], glance: Glance) -> Record:
    """The image. Conflict where it has been deleted: its id is not free any more."""
    try:
        return glance.get(run.args.image_id, run.should_stop)
    except errors.NotFound:
        raise errors.Conflict(reason=f"image {run.args.image_id} was deleted while it was made") from None


def undo_record(run: Run[UploadToGlanceArgs]) -> None:
    """Delete the image, whatever became of it."""
    delete_image(_glance(run), run.args.image_id, run.args.owner)


def _packed_path(run: Run[UploadToGlanceArgs]) -> Path:
    folder = host_of(run).journals
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / f"{run.id}.qcow2{journaled_copy.SUFFIX}"


def pack(run: Run[UploadToGlanceArgs]) -> None:
    """Make the qcow2 on disk: its length is sent before its bytes. Begun anew after a crash."""
    volume = backend_of(run).driver.location(read_volume_ref(run, run.args.volume_id))
    path = _packed_path(run)
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with sources.open(volume) as source, sinks.create_qcow2(path, source.size, COMPRESSION) as sink:
        journaled_copy.write_to_sink(run, source, sink)


def tidy(run: Run[UploadToGlanceArgs]) -> None:
    """Remove the qcow2."""
    _packed_path(run).unlink(missing_ok=True)


@contextlib.contextmanager
def _bytes(run: Run[UploadToGlanceArgs]) -> Iterator[Source]:
    """What the image is made of: the packed file, or the volume."""
    if run.args.disk_format == "qcow2":
        with sources.open_path(_packed_path(run)) as source:
            yield source
        return
    with sources.open(backend_of(run).driver.location(read_volume_ref(run, run.args.volume_id))) as source:
        yield source


def send(run: Run[UploadToGlanceArgs]) -> dict[str, Any]:
    """Send the bytes, unless Glance has them all; returns size and digest. An image with other bytes is an error."""
    glance, refused = _glance(run), ""
    for attempt in range(1, TRIES + 1):
        found = _settled(run, glance)
        if found.status == "active":
            return _verified(run, found, None)
        headers = glance.headers(refused)
        try:
            status, digest = _put(run, glance, headers)
        except Unreachable as error:
            run.raise_if_stopped()
            if attempt == TRIES:
                raise failed(glance.url(run.args.image_id), str(error)) from None
            continue
        if status < 300:
            return _verified(run, _own(run, glance), digest)
        refused = headers["X-Auth-Token"] if status == 401 else ""
        if status not in (401, 409) or attempt == TRIES:
            break
    raise failed(glance.url(run.args.image_id), refusal(status))


def _settled(run: Run[UploadToGlanceArgs], glance: Glance) -> Record:
    """The image, once Glance does not take bytes of an earlier try any more."""
    end = time.monotonic() + SETTLE_SECONDS
    while (found := _own(run, glance)).status in ("saving", "importing", "uploading"):
        run.raise_if_stopped()
        if time.monotonic() > end:
            reason = f"image {found.id} is {found.status} since an earlier try, and does not end it"
            raise failed(glance.url(found.id), reason)
        time.sleep(_TICK_SECONDS)
    return found


def _put(run: Run[UploadToGlanceArgs], glance: Glance, headers: dict[str, str]) -> tuple[int, str]:
    """(status, SHA-512 of what was sent). Unreachable where the connection broke."""
    with _bytes(run) as source, Sending(glance, run.args.image_id, source.size, headers) as sending:
        aborting = journaled_copy.abort_reads_on_stop(run, cast("Source", sending))
        with aborting, sinks.open_stream(sending.fd, "the image service") as sink:
            try:
                journaled_copy.write_to_sink(run, source, sink)
            except errors.WriteFailed:
                return sending.early(), ""
            found = sending.finish(run.should_stop)
        run.raise_if_stopped()
        return found


def _verified(run: Run[UploadToGlanceArgs], found: Record, digest: str | None) -> dict[str, Any]:
    """The image is active and has the bytes that were sent; digest None: of an earlier try, and computed now."""
    with _bytes(run) as source:
        size = source.size
        if digest is None and not run.args.in_use:
            digest = _digest(run, source)
    wanted = found.checksum
    if (found.status, found.size) != ("active", size):
        actual = f"{found.status}, {found.size} bytes"
        raise errors.ChecksumMismatch(source=f"image {found.id}", expected=f"active, {size} bytes", actual=actual)
    if digest and wanted and wanted.algorithm == "sha512" and wanted.digest != digest:
        raise errors.ChecksumMismatch(source=f"image {found.id}", expected=digest, actual=wanted.digest)
    return {"size": size, "sha512": digest or ""}


def _digest(run: Run[UploadToGlanceArgs], source: Source) -> str:
    found, at, piece = hashlib.sha512(), 0, 1 << 20
    while at < source.size:
        run.raise_if_stopped()
        found.update(source.read(at, min(piece, source.size - at)))
        at += piece
    return found.hexdigest()


def protect(run: Run[UploadToGlanceArgs]) -> None:
    """The last one: what is undone has to be deleted."""
    _glance(run).change(run.args.image_id, "protected", True, run.should_stop)
