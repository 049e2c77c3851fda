"""Delete a group, with its volumes where it has some."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.driver import SnapshotRef, VolumeRef
from nbdsvc.groups import outcome
from nbdsvc.groups.outcome import BAD_DELETION, Outcome
from nbdsvc.groups.refs import read_group_ref, read_volume_refs
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.groups import Group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import groups, repositories, transfers, transitions

R = TypeVar("R", VolumeRef, SnapshotRef)
log = structlog.get_logger(__name__)
# The step whose result is recorded before anything is removed.
_BEFORE = "unexport"


@dataclass(frozen=True)
class DeleteGroupArgs:
    """Arguments of the operation `group.delete`."""

    group_id: str
    volume_ids: tuple[str, ...] = ()
    before: str = "available"
    """The status that the group had."""


def delete_group(app: App, context: Context, id: str, *, with_volumes: bool = False) -> None:
    """Start deleting a group. with_volumes: also one that has volumes, which are deleted.

    Raises NotFound, InvalidState (of the group or a volume, also one that is attached), InvalidInput where it has volumes
    without `with_volumes`, where volumes have snapshots, and where there are group snapshots of it.
    """
    with app.change() as conn:
        rule = states.GROUP["delete"]
        before = groups.groups.get_for_update(conn, id, owner_scope(context)).status
        # First, so that nothing joins the group meanwhile.
        group = groups.groups.transition(conn, id, rule.sources, "deleting", action="delete")
        volumes = repositories.volumes.hold(conn, [each.id for each in groups.volumes_of(conn, id)])
        _check(conn, group, volumes, with_volumes=with_volumes)
        args = DeleteGroupArgs(id, tuple(each.id for each in volumes), before)
        for volume in volumes:
            app.end_move(conn, volume, _locks(args))
            _begin(conn, volume)
        app.submit(conn, context, DELETE_GROUP, args, backend=group.full_name, resource=("group", id))


def _check(conn: sa.Connection, group: Group, volumes: list[Volume], *, with_volumes: bool) -> None:
    reason = ""
    if volumes and not with_volumes:
        reason = f"it has {len(volumes)} volumes; the delete-volumes flag is required to delete it with them"
    elif found := groups.snapshots_of_group(conn, group.id):
        reason = f"it has {len(found)} group snapshots; delete them first"
    if reason:
        raise errors.InvalidInput(field="group", value=group.id, reason=reason)
    _check_unsnapped(conn, group.id, [each.id for each in volumes])


def _check_unsnapped(conn: sa.Connection, group_id: str, volume_ids: Sequence[str]) -> None:
    snapped = [id for id in volume_ids if repositories.snapshots_of(conn, id)]
    if snapped:
        reason = f"{len(snapped)} of its volumes have snapshots, such as {snapped[0]}; delete them first"
        raise errors.InvalidInput(field="group", value=group_id, reason=reason)


def _begin(conn: sa.Connection, volume: Volume) -> None:
    """VolumeAttached (S039) is InvalidState here: a volume with an attachment keeps its status and its group."""
    rule, attached = states.VOLUME["delete with its group"], repositories.attachments_of(conn, volume.id)
    if any(each.status != "detached" for each in attached):
        facts = {"resource": "Volume", "id": volume.id, "action": "be deleted with its group"}
        raise errors.InvalidState(**facts, status=f"{volume.status} with attachments", allowed=rule.allowed())
    action = "be deleted with its group"
    repositories.volumes.transition(
        conn, volume.id, rule.sources, "deleting", action=action, previous_status=volume.status
    )


def _locks(args: DeleteGroupArgs) -> list[Lock]:
    return locks("group.delete", group=args.group_id, volume=list(args.volume_ids))


def _unexport(run: Run[DeleteGroupArgs]) -> None:
    """Remove what is left of exports, always before the volumes. An API process of an older version may have taken a
    request for a snapshot meanwhile: that counts, done or not, now that no other operation works on the volumes.
    """
    host = host_of(run)
    with host.database.read() as conn:
        _check_unsnapped(conn, run.args.group_id, run.args.volume_ids)
        attachments = repositories.attachments_of(conn, *run.args.volume_ids) if run.args.volume_ids else []
    for attachment in attachments:
        host.remove_export(attachment.id)


def _delete(run: Run[DeleteGroupArgs]) -> dict[str, Any]:
    volumes, backend = read_volume_refs(run, run.args.volume_ids), backend_of(run)
    for volume in volumes:
        host_of(run).digests.discard(volume.id)
    if driver := backend.groups():
        returned = driver.delete_consistencygroup(read_group_ref(run, run.args.group_id), volumes)
        return outcome.judge_pair(returned, BAD_DELETION, run.args.volume_ids).to_json()
    return delete_each(run, volumes, backend.driver.delete_volume)


def delete_each(run: Run[Any], refs: Iterable[R], delete: Callable[[R], None]) -> dict[str, Any]:
    """What a driver without groups makes of each: one that cannot be deleted keeps no other one."""
    entries = []
    for ref in refs:
        run.raise_if_stopped()
        try:
            delete(ref)
            entries.append({"id": ref.id, "status": "deleted"})
        except errors.BackendError as error:
            log.error("not deleted with its group", id=ref.id, reason=str(error))
            entries.append({"id": ref.id, "status": "error_deleting"})
    return outcome.judge(None, entries, BAD_DELETION, {each["id"] for each in entries}).to_json()


def _judge(run: Run[DeleteGroupArgs]) -> None:
    outcome.raise_if_bad(Outcome.from_json(run.results["delete"]), run.args.group_id)


def _remove(conn: sa.Connection, volume_id: str) -> None:
    for attachment in repositories.attachments_of(conn, volume_id):
        repositories.attachments.delete(conn, attachment.id)
    transfers.remove_of_volume(conn, volume_id)
    repositories.volumes.delete(conn, volume_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: DeleteGroupArgs) -> None:
    repositories.volumes.hold_left(conn, args.volume_ids)
    for id in args.volume_ids:
        _remove(conn, id)
    groups.groups.delete(conn, args.group_id)


def _fail(conn: sa.Connection, operation: Operation, args: DeleteGroupArgs, _error: errors.Error) -> None:
    """Cancelled before anything was removed: as it was. Else `error`, and each volume as the driver says (S110)."""
    repositories.volumes.hold_left(conn, args.volume_ids)
    if _BEFORE not in operation.results:
        transitions.finish_group(
            conn, args.group_id, "deleting", "available" if args.before == "available" else "error"
        )
        for id in args.volume_ids:
            transitions.finish_volume(conn, id, "deleting", states.PREVIOUS)
        return
    found = Outcome.from_json(operation.results.get("delete"))
    for id in args.volume_ids:
        _end_volume(conn, id, found.removed(id))
    transitions.finish_group(conn, args.group_id, "deleting", "error")


def _end_volume(conn: sa.Connection, id: str, status: str) -> None:
    if status == "deleted":
        _remove(conn, id)
    else:
        transitions.finish_volume(conn, id, "deleting", states.PREVIOUS if status == "available" else status)


DELETE_GROUP = OperationType(
    "group.delete",
    DeleteGroupArgs,
    (Step(_BEFORE, _unexport), Step("delete", _delete, stoppable=False), Step("judge", _judge, stoppable=False)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    removes=True,
)
