"""Create a group, which has no volumes yet."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.zones import choose_zone
from nbdsvc.groups import outcome
from nbdsvc.groups.choose_backend import choose_backend
from nbdsvc.groups.outcome import Outcome
from nbdsvc.groups.refs import read_group_ref
from nbdsvc.groups.types.queries import usable_group_type
from nbdsvc.host import backend_of
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.entities import VolumeType
from nbdsvc.model.groups import CG_TYPE_ID, Group, GroupType
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.store import groups, quotas, transitions
from nbdsvc.types.queries import usable_type


@dataclass(frozen=True)
class CreateGroupRequest:
    """A request for a group. Types by name or id; at least one volume type."""

    group_type: str
    volume_types: tuple[str, ...]
    name: str | None = None
    description: str | None = None
    availability_zone: str | None = None


@dataclass(frozen=True)
class GroupArgs:
    """Arguments of an operation that concerns a group alone."""

    group_id: str


def create_group(app: App, context: Context, request: CreateGroupRequest) -> Group:
    """Start making a group.

    Raises NotFound for a type, InvalidInput for the type of consistency groups, a zone that there is not, and no volume
    type; QuotaExceeded; NoValidBackend.
    """
    if request.group_type in (CG_TYPE_ID, "default_cgsnapshot_type"):
        reason = "this type is for consistency groups, which are made by their own API"
        raise errors.InvalidInput(field="group_type", value=request.group_type, reason=reason)
    return make_group(app, context, request)


def make_group(app: App, context: Context, request: CreateGroupRequest) -> Group:
    """As `create_group`, of any type."""
    if not request.volume_types:
        reason = "a group needs at least one volume type"
        raise errors.InvalidInput(field="volume_types", value=None, reason=reason)
    with app.change() as conn:
        group_type = usable_group_type(conn, context, request.group_type)
        types = {each.id: each for each in _types(app, conn, context, request)}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, {"groups": 1})
        zone = choose_zone(app, conn, request.availability_zone, *types.values())
        place = choose_backend(app, conn, zone, group_type, list(types.values()))
        made = _row(context, request, group_type, types, place.host, place.backend, zone)
        groups.groups.insert(conn, made)
        app.submit(conn, context, CREATE_GROUP, GroupArgs(made.id), backend=made.full_name, resource=("group", made.id))
    return made


def _types(app: App, conn: sa.Connection, context: Context, request: CreateGroupRequest) -> list[VolumeType]:
    return [usable_type(app, conn, context, name) for name in request.volume_types]


def _row(
    context: Context,
    request: CreateGroupRequest,
    group_type: GroupType,
    types: dict[str, VolumeType],
    host: str,
    backend: str,
    zone: str,
) -> Group:
    return Group(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        status="creating",
        host=host,
        backend=backend,
        group_type_id=group_type.id,
        volume_types=list(types),
        name=request.name,
        description=request.description,
        availability_zone=zone,
    )


def _locks(args: GroupArgs) -> list[Lock]:
    return locks("group.create", group=args.group_id)


def _create(run: Run[GroupArgs]) -> dict[str, Any]:
    """A group of the service's own is only its row."""
    driver, group = backend_of(run).groups(), read_group_ref(run, run.args.group_id)
    update = driver.create_consistencygroup(group) if driver else None
    return outcome.judge(update, None, outcome.BAD, ()).to_json()


def _undo_create(run: Run[GroupArgs]) -> None:
    """Of a call that ended without a word. What the driver says of a group holds, until that is deleted."""
    driver = backend_of(run).groups()
    if driver and "create" not in run.results:
        driver.delete_consistencygroup(read_group_ref(run, run.args.group_id), [])


def _judge(run: Run[GroupArgs]) -> None:
    outcome.raise_if_bad(Outcome.from_json(run.results["create"]), run.args.group_id)


def _succeed(conn: sa.Connection, _operation: Operation, args: GroupArgs) -> None:
    transitions.finish_group(conn, args.group_id, "creating", "available")


def _fail(conn: sa.Connection, _operation: Operation, args: GroupArgs, _error: errors.Error) -> None:
    transitions.finish_group(conn, args.group_id, "creating", "error")


CREATE_GROUP = OperationType(
    "group.create",
    GroupArgs,
    # Cancelled after the driver's call, it has come too late.
    (Step("create", _create, _undo_create), Step("judge", _judge, stoppable=False)),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
