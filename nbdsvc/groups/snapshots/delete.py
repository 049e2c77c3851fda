"""Delete a group snapshot with its snapshots (S042, S109)."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.groups import outcome
from nbdsvc.groups.delete import delete_each
from nbdsvc.groups.outcome import BAD_DELETION, Outcome
from nbdsvc.groups.refs import read_group_snapshot_ref, read_snapshot_refs
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import group_tables, groups, repositories, transitions


@dataclass(frozen=True)
class DeleteGroupSnapshotArgs:
    """Arguments of the operation `group_snapshot.delete`."""

    group_snapshot_id: str
    snapshot_ids: tuple[str, ...]


def delete_group_snapshot(app: App, context: Context, id: str) -> None:
    """Start deleting a group snapshot.

    Raises NotFound, InvalidState (of it or of one of its snapshots), InvalidInput while a group is being made of it.
    """
    rule = states.GROUP_SNAPSHOT["delete"]
    with app.change() as conn:
        found = groups.group_snapshots.get_for_update(conn, id, owner_scope(context))
        _check_unused(conn, id)
        groups.group_snapshots.transition(conn, id, rule.sources, "deleting", action="delete")
        snapshots = repositories.snapshots.hold(conn, [each.id for each in groups.snapshots_of(conn, id)])
        for each in snapshots:
            sources = states.SNAPSHOT["delete with its group snapshot"].sources
            repositories.snapshots.transition(conn, each.id, sources, "deleting", action="be deleted with its group's")
        args = DeleteGroupSnapshotArgs(id, tuple(each.id for each in snapshots))
        place = groups.groups.get(conn, found.group_id).full_name
        app.submit(conn, context, DELETE_GROUP_SNAPSHOT, args, backend=place, resource=("group_snapshot", id))


def _check_unused(conn: sa.Connection, id: str) -> None:
    column = group_tables.groups.c
    made = groups.groups.select(conn, column.group_snapshot_id == id, column.status == "creating")
    if made:
        reason = f"group {made[0].id} is being made of it"
        raise errors.InvalidInput(field="group_snapshot", value=id, reason=reason)


def _locks(args: DeleteGroupSnapshotArgs) -> list[Lock]:
    own = {"group_snapshot": args.group_snapshot_id}
    return locks("group_snapshot.delete", **own, snapshot=list(args.snapshot_ids))


def _delete(run: Run[DeleteGroupSnapshotArgs]) -> dict[str, Any]:
    """What it was before is lost with the first call: so nothing ends it but the end of the last one."""
    snapshots, backend = read_snapshot_refs(run, run.args.snapshot_ids), backend_of(run)
    for each in snapshots:
        host_of(run).digests.discard(each.id)
    if driver := backend.groups():
        whole = read_group_snapshot_ref(run, run.args.group_snapshot_id)
        returned = driver.delete_cgsnapshot(whole, snapshots)
        return outcome.judge_pair(returned, BAD_DELETION, run.args.snapshot_ids).to_json()
    return delete_each(run, snapshots, backend.snapshots().delete_snapshot)


def _judge(run: Run[DeleteGroupSnapshotArgs]) -> None:
    outcome.raise_if_bad(Outcome.from_json(run.results["delete"]), run.args.group_snapshot_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: DeleteGroupSnapshotArgs) -> None:
    repositories.snapshots.hold_left(conn, args.snapshot_ids)
    for id in args.snapshot_ids:
        repositories.snapshots.delete(conn, id)
    groups.group_snapshots.delete(conn, args.group_snapshot_id)


def _fail(conn: sa.Connection, operation: Operation, args: DeleteGroupSnapshotArgs, _error: errors.Error) -> None:
    """Each snapshot as the driver says: one that is gone has no row, also where others could not be deleted."""
    found = Outcome.from_json(operation.results.get("delete"))
    repositories.snapshots.hold_left(conn, args.snapshot_ids)
    for id in args.snapshot_ids:
        status = found.removed(id)
        if status == "deleted":
            repositories.snapshots.delete(conn, id)
        else:
            transitions.finish_snapshot(conn, id, "deleting", status)
    transitions.finish_group_snapshot(conn, args.group_snapshot_id, "deleting", "error")


def _look(run: Run[DeleteGroupSnapshotArgs]) -> None:
    """The last moment at which it can be cancelled."""
    run.raise_if_stopped()


DELETE_GROUP_SNAPSHOT = OperationType(
    "group_snapshot.delete",
    DeleteGroupSnapshotArgs,
    (Step("look", _look), Step("delete", _delete, stoppable=False), Step("judge", _judge, stoppable=False)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    removes=True,
)
