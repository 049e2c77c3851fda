"""Compare a volume with the digests of what it should hold, or record new ones (ours; no action of Cinder)."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.datapath import source as sources
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.refs import read_volume, read_volume_ref
from nbdsvc.store import repositories, transitions


@dataclass(frozen=True)
class VerifyVolumeArgs:
    """Arguments of the operation `volume.verify`."""

    volume_id: str
    record: bool
    """Replace the digests instead of comparing."""


def verify_volume(app: App, context: Context, id: str, *, record: bool) -> None:
    """Start comparing a volume with its digests; `record`: replace them by those of what it holds now.

    Raises NotFound, and InvalidState where the volume is in use or another operation works on it. That it differs, or that
    there is nothing to compare it with, is the error of the operation.
    """
    with app.change() as conn:
        volume = repositories.volumes.get(conn, id, owner_scope(context))
        rule = states.VOLUME["verify"]
        changes = {"previous_status": volume.status}
        repositories.volumes.transition(conn, id, rule.sources, "maintenance", action="be verified", **changes)
        args = VerifyVolumeArgs(id, record)
        app.submit(conn, context, VERIFY_VOLUME, args, backend=volume, resource=("volume", id))


def _locks(args: VerifyVolumeArgs) -> list[Lock]:
    return locks("volume.verify", volume=args.volume_id)


def _verify(run: Run[VerifyVolumeArgs]) -> dict[str, int]:
    host, volume = host_of(run), read_volume(run, run.args.volume_id)
    expected = None if run.args.record else host.digests.load(volume.id)
    if expected is None and not run.args.record:
        reason = (
            f"there is nothing to compare volume {volume.id} with: it was made empty, or attached for writing since"
        )
        raise errors.Conflict(reason=f"{reason}; record what it holds now")
    location = backend_of(run).driver.location(read_volume_ref(run, volume.id))
    with sources.open(location, from_storage=True) as source:
        found = journaled_copy.compute_digests(run, source)
    if expected:
        expected.compare(found, f"volume {volume.id}")
    else:
        host.digests.save(volume.id, found)
    return {"size": found.size, "chunks": len(found)}


def _succeed(conn: sa.Connection, _operation: Operation, args: VerifyVolumeArgs) -> None:
    transitions.finish_volume(conn, args.volume_id, "maintenance", states.PREVIOUS)


def _fail(conn: sa.Connection, _operation: Operation, args: VerifyVolumeArgs, error: errors.Error) -> None:
    """The operation has the error; the volume is as usable as it was."""
    transitions.finish_volume(conn, args.volume_id, "maintenance", states.PREVIOUS)


VERIFY_VOLUME = OperationType(
    "volume.verify",
    VerifyVolumeArgs,
    (Step("verify", _verify, copies=always),),
    _locks,
    _succeed,
    _fail,
    modifies=False,
)
