"""Compare a volume with the digests of what it should hold, or record new ones (ours; no action of Cinder)."""

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, operation, owner_scope
from nbdsvc.datapath import source as sources
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step, always
from nbdsvc.refs import volume_of, volume_ref
from nbdsvc.store import nouns


def verify_volume(app: App, context: Context, id: str, *, record: bool) -> None:
    """Start comparing a volume with its digests; `record`: replace them by those of what it holds now.

    Raises NotFound, and InvalidState where the volume is in use or in the hands of another operation. That it differs, or
    that there is nothing to compare it with, is the error of the operation.
    """
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        rule = states.VOLUME["verify"]
        changes = {"previous_status": volume.status}
        nouns.volumes.transition(conn, id, rule.sources, "maintenance", action="be verified", **changes)
        args = {"volume_id": id, "record": record}
        held = locks("volume.verify", volume=id)
        app.operations.admit(
            conn, operation(app, context, "volume.verify", volume.full_host, ("volume", id), held, args)
        )


def _verify(run: Run) -> dict[str, int]:
    host, volume = host_of(run), volume_of(run)
    expected = None if run.args["record"] else host.digests.load(volume.id)
    if expected is None and not run.args["record"]:
        reason = (
            f"there is nothing to compare volume {volume.id} with: it was made empty, or attached for writing since"
        )
        raise errors.Conflict(reason=f"{reason}; record what it holds now")
    with sources.open_path(backend_of(run).driver.local_path(volume_ref(volume)), from_storage=True) as source:
        found = journaled_copy.compute_digests(run, source)
    if expected:
        expected.compare(found, f"volume {volume.id}")
    else:
        host.digests.save(volume.id, found)
    return {"size": found.size, "chunks": len(found)}


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    settling.volume(conn, operation.resource_id, "maintenance", states.PREVIOUS)


def _fail(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    """The operation has the error; the volume is as usable as it was."""
    settling.volume(conn, operation.resource_id, "maintenance", states.PREVIOUS)


VERIFY_VOLUME = Kind("volume.verify", (Step("verify", _verify, copies=always),), _succeed, _fail)
