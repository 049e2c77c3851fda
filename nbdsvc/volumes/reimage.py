"""Write an image over a volume that exists (os-reimage, microversion 3.68): its name, size, type and attachments stay.

What may be judged before the first byte, is: until then a failure leaves the volume as it was. From then on its bytes are
mixed, and a failure makes it `error`; another reimage repairs it.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import repositories, transitions
from nbdsvc.volumes.fill import fill_from_image
from nbdsvc.volumes.read import get_volume

_MIXED = "error"


@dataclass(frozen=True)
class ReimageVolumeArgs:
    """Arguments of the operation `volume.reimage`."""

    volume_id: str
    image: str
    """Its id."""
    image_resolved: bool = False
    """The API has checked that the project may use the image."""


def reimage_volume(app: App, context: Context, id: str, image: str, *, reserved: bool) -> None:
    """Start writing an image over a volume. reserved: also while it is reserved, for an instance that is rebuilt.

    Raises NotFound (volume or image), and InvalidState where it is in use or another operation works on it. That the image
    is too large or no image is the error of the operation.
    """
    before = get_volume(app, context, id)
    if app.images:
        found = app.images.look_up(image, context)
        found.check(before.size)
        image = found.reference
    rule = states.VOLUME["reimage"]
    sources = rule.sources if reserved else rule.sources - {"reserved"}
    with app.change() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        changes = {"previous_status": volume.status}
        repositories.volumes.transition(conn, id, sources, "downloading", action="be reimaged", **changes)
        args = ReimageVolumeArgs(id, image, image_resolved=app.images is not None)
        app.submit(conn, context, REIMAGE_VOLUME, args, backend=volume, resource=("volume", id))


def _locks(args: ReimageVolumeArgs) -> list[Lock]:
    return locks("volume.reimage", volume=args.volume_id)


def _write(run: Run[ReimageVolumeArgs]) -> dict[str, object]:
    _check_snapshots(run)
    args = run.args

    def begin() -> None:
        host = host_of(run)
        with host.database.write() as conn:
            repositories.volumes.update(conn, args.volume_id, previous_status=_MIXED)
        host.digests.discard(args.volume_id)

    return fill_from_image(run, args.volume_id, args.image, checked=args.image_resolved, overwrite=begin)


def _check_snapshots(run: Run[ReimageVolumeArgs]) -> None:
    """Unsupported where snapshots have room for a part of their volume's changes only: a whole image would lose them."""
    with host_of(run).database.read() as conn:
        found = repositories.snapshots_of(conn, run.args.volume_id)
    able = backend_of(run).able
    if found and able.instant_snapshot and not able.thin:
        reason = (
            f"volume {run.args.volume_id} has {len(found)} snapshots, which an image written over it could overflow"
        )
        raise errors.Unsupported(reason=f"{reason}: delete them first")


def _succeed(conn: sa.Connection, operation: Operation, args: ReimageVolumeArgs) -> None:
    changes = {"image_metadata": operation.results["write"]["image"], "image_id": args.image, "bootable": True}
    transitions.finish_volume(conn, args.volume_id, "downloading", states.PREVIOUS, **changes)


def _fail(conn: sa.Connection, _operation: Operation, args: ReimageVolumeArgs, _error: errors.Error) -> None:
    volume = repositories.volumes.find(conn, args.volume_id)
    target = "error" if volume and volume.previous_status == _MIXED else states.PREVIOUS
    transitions.finish_volume(conn, args.volume_id, "downloading", target)


REIMAGE_VOLUME = OperationType(
    "volume.reimage",
    ReimageVolumeArgs,
    (
        Step("write", _write, journaled_copy.remove_journal, copies=always),
        Step("tidy", journaled_copy.remove_journal),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
