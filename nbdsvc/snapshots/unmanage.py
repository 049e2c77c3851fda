"""Unmanage a snapshot: its row goes, its object stays in the pool (rows S097-S100)."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, operation, owner_scope
from nbdsvc.host import backend_of, host_of
from nbdsvc.manager import settling
from nbdsvc.manager.locking import locks
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.operation import Operation
from nbdsvc.operations.step import Kind, Run, Step
from nbdsvc.refs import snapshot_of, snapshot_ref
from nbdsvc.store import nouns


def unmanage_snapshot(app: App, context: Context, id: str) -> None:
    """Start removing a snapshot's row. Raises NotFound, and InvalidState where it is not at rest."""
    with app.change() as conn:
        snapshot = nouns.snapshots.get(conn, id, owner_scope(context))
        host = nouns.volumes.get(conn, snapshot.volume_id).host
        rule = states.SNAPSHOT["unmanage"]
        nouns.snapshots.transition(conn, id, rule.sources, "unmanaging", action="be unmanaged")
        held = locks("snapshot.unmanage", snapshot=id, pool=host)
        args = {"snapshot_id": id, "volume_id": snapshot.volume_id}
        app.operations.admit(conn, operation(app, context, "snapshot.unmanage", host, ("snapshot", id), held, args))


def _unmanage(run: Run) -> None:
    host_of(run).digests.discard(run.args["snapshot_id"])
    backend_of(run).driver.unmanage_snapshot(snapshot_ref(snapshot_of(run)))


def _succeed(conn: sa.Connection, operation: Operation) -> None:
    nouns.snapshots.delete(conn, operation.resource_id)


def _fail(conn: sa.Connection, operation: Operation, error: errors.Error) -> None:
    settling.snapshot(conn, operation.resource_id, "unmanaging", "error")


UNMANAGE_SNAPSHOT = Kind("snapshot.unmanage", (Step("let go", _unmanage),), _succeed, _fail)
