"""Change a group: its name and description at once, its volumes by an operation (S040, S112)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.groups import outcome
from nbdsvc.groups.outcome import BAD, Outcome
from nbdsvc.groups.refs import read_group_ref, read_volume_refs
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.groups import Group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import backends, groups, repositories, transitions


@dataclass(frozen=True)
class UpdateGroupRequest:
    """Changes of a group. changes: name, description; the others are ids of volumes."""

    changes: dict[str, str | None] = field(default_factory=dict)
    add_volumes: tuple[str, ...] = ()
    remove_volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class UpdateGroupArgs:
    """Arguments of the operation `group.update`."""

    group_id: str
    add_volumes: tuple[str, ...] = ()
    remove_volumes: tuple[str, ...] = ()


def update_group(app: App, context: Context, id: str, request: UpdateGroupRequest) -> None:
    """Change a group. A volume that is to join belongs to it from now on, so that nothing moves it away meanwhile.

    Raises NotFound, InvalidState (of the group or a volume), InvalidInput where nothing changes, and for a volume that there
    is not, that is in another group, has a type that the group has not, is on another backend or both joins and leaves;
    Frozen.
    """
    if not (request.changes or request.add_volumes or request.remove_volumes):
        reason = "name, description, add_volumes and remove_volumes must not all be empty"
        raise errors.InvalidInput(field="group", value=None, reason=reason)
    if both := set(request.add_volumes) & set(request.remove_volumes):
        raise _refused("add_volumes", min(both), "it is also in remove_volumes")
    with app.change() as conn:
        group = groups.lock_usable(conn, id, owner_scope(context), "be updated")
        backends.check_not_frozen(conn, group.full_name)
        if request.changes:
            groups.groups.update(conn, id, **request.changes)
        if request.add_volumes or request.remove_volumes:
            _submit(app, conn, context, group, request)


def _submit(app: App, conn: sa.Connection, context: Context, group: Group, request: UpdateGroupRequest) -> None:
    args = UpdateGroupArgs(group.id, request.add_volumes, request.remove_volumes)
    volumes = _volumes(conn, group, request)
    for id in args.add_volumes:
        check_joins(conn, group, volumes[id])
        repositories.volumes.update(conn, id, group_id=group.id)
    for id in args.remove_volumes:
        _check_leaves(group, volumes[id])
    groups.groups.transition(conn, group.id, states.GROUP["update"].sources, "updating", action="be updated")
    app.submit(conn, context, UPDATE_GROUP, args, backend=group.full_name, resource=("group", group.id))


def _volumes(conn: sa.Connection, group: Group, request: UpdateGroupRequest) -> dict[str, Volume]:
    """The volumes of the group's project, which no other request changes until the commit, by id."""
    try:
        found = repositories.volumes.hold(conn, (*request.add_volumes, *request.remove_volumes), group.project_id)
    except errors.NotFound as error:
        id = str(error.facts["id"])
        name = "add_volumes" if id in request.add_volumes else "remove_volumes"
        raise _refused(name, id, "volume could not be found") from None
    return {each.id: each for each in found}


def _refused(name: str, id: str, reason: str) -> errors.InvalidInput:
    return errors.InvalidInput(field=name, value=id[:80], reason=reason)


def check_joins(conn: sa.Connection, group: Group, volume: Volume) -> None:
    """InvalidInput or InvalidState where the volume cannot be in the group."""
    if volume.group_id is not None:
        raise _refused("add_volumes", volume.id, f"volume is in group {volume.group_id} already")
    _require(volume, states.JOINABLE, "join a group")
    if reason := _misfit(conn, group, volume):
        raise _refused("add_volumes", volume.id, reason)


def _misfit(conn: sa.Connection, group: Group, volume: Volume) -> str:
    if names.join_host(volume.host, volume.backend) != group.full_name:
        return "volume is not local to this group: it is on another backend"
    if volume.volume_type_id not in group.volume_types:
        return "volume has a type that the group does not support"
    if volume.migration_status in states.MIGRATION_IN_FLIGHT or repositories.moves.find(conn, volume.id):
        return "volume is being moved"
    return ""


def _check_leaves(group: Group, volume: Volume) -> None:
    if volume.group_id != group.id:
        raise _refused("remove_volumes", volume.id, "volume is not in the group")
    _require(volume, states.LEAVABLE, "leave its group")


def _require(volume: Volume, allowed: frozenset[str], action: str) -> None:
    if volume.status not in allowed:
        facts = {"resource": "Volume", "id": volume.id, "action": action, "status": volume.status}
        raise errors.InvalidState(**facts, allowed=sorted(allowed))


def _locks(args: UpdateGroupArgs) -> list[Lock]:
    return locks("group.update", group=args.group_id, volume=[*args.add_volumes, *args.remove_volumes])


def _check(run: Run[UpdateGroupArgs]) -> None:
    """The rules again, now that no other operation works on the volumes. The group is not touched where one is gone (T12)."""
    with host_of(run).database.read() as conn:
        group = groups.groups.get(conn, run.args.group_id)
        for id in run.args.add_volumes:
            volume = repositories.volumes.get(conn, id, group.project_id)
            _require(volume, states.JOINABLE, "join a group")
            if reason := _misfit(conn, group, volume):
                raise _refused("add_volumes", id, reason)
        for id in run.args.remove_volumes:
            _require(repositories.volumes.get(conn, id, group.project_id), states.LEAVABLE, "leave its group")


def _update(run: Run[UpdateGroupArgs]) -> dict[str, Any]:
    args, driver = run.args, backend_of(run).groups()
    if driver is None:
        return Outcome().to_json()
    added, removed = read_volume_refs(run, args.add_volumes), read_volume_refs(run, args.remove_volumes)
    returned = driver.update_consistencygroup(read_group_ref(run, args.group_id), added, removed)
    model_update, add_update, remove_update = returned or (None, None, None)
    both = [*(add_update or ()), *(remove_update or ())]
    return outcome.judge(model_update, both, BAD, {*args.add_volumes, *args.remove_volumes}).to_json()


def _judge(run: Run[UpdateGroupArgs]) -> None:
    outcome.raise_if_bad(Outcome.from_json(run.results["update"]), run.args.group_id)


def _hold(conn: sa.Connection, args: UpdateGroupArgs) -> None:
    repositories.volumes.hold_left(conn, (*args.add_volumes, *args.remove_volumes))


def _succeed(conn: sa.Connection, operation: Operation, args: UpdateGroupArgs) -> None:
    found = Outcome.from_json(operation.results["update"])
    _hold(conn, args)
    for id in args.add_volumes:
        if changes := found.state(id):
            repositories.volumes.update(conn, id, **changes)
    for id in args.remove_volumes:
        repositories.volumes.update(conn, id, group_id=None, **found.state(id))
    transitions.finish_group(conn, args.group_id, "updating", "available")


def _fail(conn: sa.Connection, operation: Operation, args: UpdateGroupArgs, _error: errors.Error) -> None:
    """Before the driver was called: as it was. After an error of the driver: group and volumes `error`."""
    _hold(conn, args)
    _let_go(conn, args.group_id, args.add_volumes)
    if "check" not in operation.results:
        transitions.finish_group(conn, args.group_id, "updating", "available")
        return
    transitions.finish_group(conn, args.group_id, "updating", "error")
    rule = states.VOLUME["fail with its group"]
    for id in (*args.add_volumes, *args.remove_volumes):
        repositories.volumes.transition_if(conn, id, rule.sources, "error")


def _let_go(conn: sa.Connection, group_id: str, ids: Sequence[str]) -> None:
    for id in ids:
        found = repositories.volumes.find(conn, id)
        if found and found.group_id == group_id:
            repositories.volumes.update(conn, id, group_id=None)


UPDATE_GROUP = OperationType(
    "group.update",
    UpdateGroupArgs,
    (Step("check", _check), Step("update", _update, stoppable=False), Step("judge", _judge, stoppable=False)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
)
