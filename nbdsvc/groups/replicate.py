"""Replicate a group: enable and disable its replication, fail it over to a target and back.

fence       of a failover: exports are removed, because what a client writes from now on would be lost
replicate   the driver's call
judge       what it said
export      attached volumes are exported again, from where they are now
"""

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.attachments.repair import repair_export
from nbdsvc.backends import placement
from nbdsvc.driver import DEFAULT_TARGET, GroupReplicationDriver, Update, Updates, replication_columns
from nbdsvc.groups import outcome
from nbdsvc.groups.outcome import BAD, Outcome
from nbdsvc.groups.refs import read_group_ref, read_volume_refs
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.groups import REPLICATED, Group, is_true
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import backends, groups, replication, repositories

log = structlog.get_logger(__name__)

Verb = Literal["enable", "disable", "fail over", "fail back"]


@dataclass(frozen=True)
class ReplicateArgs:
    """Arguments of the operation `group.replicate`. before: the replication status that the group had."""

    group_id: str
    verb: Verb
    before: str
    volume_ids: tuple[str, ...]
    attachment_ids: tuple[str, ...] = ()
    target: str | None = None
    """Of a failover; None: one that the driver chooses."""


def replicate_group(
    app: App, context: Context, id: str, verb: Verb, *, target: str | None = None, attached: bool = False
) -> None:
    """Start it. attached: a failover may take volumes that are attached.

    Raises NotFound, InvalidState (of the group or a volume), InvalidInput for its replication status, a type that demands no
    replication, a group without volumes, and a failover of attached volumes without `attached`; Unsupported where the backend
    does not replicate groups; Frozen.
    """
    verb = "fail back" if verb == "fail over" and target == DEFAULT_TARGET else verb
    with app.change() as conn:
        group = groups.lock_usable(conn, id, owner_scope(context), f"{verb} its replication")
        backends.check_not_frozen(conn, group.full_name)
        volumes = groups.volumes_of(conn, id)
        attachments = repositories.attachments_of(conn, *(each.id for each in volumes)) if volumes else []
        _check(conn, group, volumes, is_attached=bool(attachments) and not attached and verb.startswith("fail"))
        rule = states.GROUP_REPLICATION[verb]
        if not groups.change_replication(conn, id, rule.sources, str(rule.during)):
            reason = f"its replication is {group.replication_status}, and has to be {' or '.join(rule.allowed())}"
            raise errors.InvalidInput(field="replication_status", value=group.replication_status, reason=reason)
        ids = tuple(each.id for each in volumes), tuple(each.id for each in attachments)
        args = ReplicateArgs(id, verb, group.replication_status, *ids, target)
        app.submit(conn, context, REPLICATE_GROUP, args, backend=group.full_name, resource=("group", id))


def replication_targets(app: App, context: Context, id: str) -> list[str]:
    """The ids of the targets of the group's backend. Raises NotFound, InvalidInput for a type that demands no replication."""
    with app.database.read() as conn:
        group = groups.groups.get(conn, id, owner_scope(context))
        _check_type(conn, group)
        found = backends.find(conn, group.full_name)
    return list(found.capabilities.get("replication_targets", ())) if found else []


def _check(conn: sa.Connection, group: Group, volumes: list[Volume], *, is_attached: bool) -> None:
    _check_type(conn, group)
    placement.require(conn, group.full_name, "GroupReplicationDriver")
    if not volumes or is_attached:
        reason = "volumes of the group are attached" if volumes else "the group has no volumes"
        raise errors.InvalidInput(field="group", value=group.id, reason=reason)
    for volume in volumes:
        if volume.status not in states.GROUPED:
            facts = {"resource": "Volume", "id": volume.id, "action": "be replicated with its group"}
            raise errors.InvalidState(**facts, status=volume.status, allowed=sorted(states.GROUPED))


def _check_type(conn: sa.Connection, group: Group) -> None:
    if not is_true(groups.group_types.get(conn, group.group_type_id).group_specs, *REPLICATED):
        reason = f"its group type demands no replication ({' or '.join(REPLICATED)})"
        raise errors.InvalidInput(field="group", value=group.id, reason=reason)


def _locks(args: ReplicateArgs) -> list[Lock]:
    ids = {"volume": list(args.volume_ids), "attachment": list(args.attachment_ids)}
    return locks("group.replicate", group=args.group_id, **ids)


def _is_failover(run: Run[ReplicateArgs]) -> bool:
    return run.args.verb.startswith("fail")


def _fence(run: Run[ReplicateArgs]) -> None:
    for id in _exported(run):
        host_of(run).remove_export(id)


def _exported(run: Run[ReplicateArgs]) -> list[str]:
    with host_of(run).database.read() as conn:
        found = [repositories.attachments.find(conn, id) for id in run.args.attachment_ids]
    return [each.id for each in found if each and each.exported]


def _export(run: Run[ReplicateArgs]) -> None:
    """What cannot be exported now, the periodic repair of exports goes on with."""
    for id in _exported(run) if _is_failover(run) else ():
        try:
            repair_export(host_of(run), backend_of(run), id)
        except errors.Error as error:
            log.warning("an attachment has no export after a failover", attachment=id, reason=str(error))


def _replicate(run: Run[ReplicateArgs]) -> dict[str, Any]:
    """What the driver returned; what it says of each volume is kept at once: from now on `location` needs it."""
    args, driver = run.args, backend_of(run).replicated_groups()
    group, refs = read_group_ref(run, args.group_id), read_volume_refs(run, args.volume_ids)
    returned = _call(driver, args, group, refs)
    found = outcome.judge_pair(returned, BAD, args.volume_ids)
    with host_of(run).database.write() as conn:
        for id, entry in found.entries.items():
            volume = repositories.volumes.find(conn, id)
            if volume:
                replication.save(conn, id, volume.replication_status, replication_columns(entry))
    for id in args.volume_ids if _is_failover(run) else ():
        host_of(run).digests.discard(id)
    return found.to_json()


def _call(driver: GroupReplicationDriver, args: ReplicateArgs, group: Any, refs: Any) -> tuple[Update, Updates]:
    if args.verb == "enable":
        return driver.enable_replication(group, refs)
    if args.verb == "disable":
        return driver.disable_replication(group, refs)
    return driver.failover_replication(group, refs, args.target)


def _judge(run: Run[ReplicateArgs]) -> None:
    outcome.raise_if_bad(Outcome.from_json(run.results["replicate"]), run.args.group_id)


def _succeed(conn: sa.Connection, operation: Operation, args: ReplicateArgs) -> None:
    rule = states.GROUP_REPLICATION[args.verb]
    groups.change_replication(conn, args.group_id, frozenset({str(rule.during)}), str(rule.done))
    _end_volumes(conn, operation, args, str(rule.done))


def _end_volumes(conn: sa.Connection, operation: Operation, args: ReplicateArgs, status: str) -> None:
    """The replication status of those of which the driver says none."""
    found = Outcome.from_json(operation.results.get("replicate"))
    repositories.volumes.hold_left(conn, args.volume_ids)
    for id in args.volume_ids:
        if "replication_status" not in found.entries.get(id, {}):
            repositories.volumes.update(conn, id, replication_status=status)


def _fail(conn: sa.Connection, operation: Operation, args: ReplicateArgs, error: errors.Error) -> None:
    """As before where nothing was changed: a wrong target, or cancelled before the driver was called."""
    rule = states.GROUP_REPLICATION[args.verb]
    untouched = isinstance(error, errors.InvalidReplicationTarget) or "fence" not in operation.results
    target = args.before if untouched else str(rule.failed)
    groups.change_replication(conn, args.group_id, frozenset({str(rule.during)}), target)
    if not untouched:
        _end_volumes(conn, operation, args, str(rule.failed))


REPLICATE_GROUP = OperationType(
    "group.replicate",
    ReplicateArgs,
    (
        Step("fence", lambda run: _fence(run) if _is_failover(run) else None, _export),
        Step("replicate", _replicate, stoppable=False),
        Step("judge", _judge, stoppable=False),
        Step("export", _export, stoppable=False),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
