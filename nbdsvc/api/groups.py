"""/groups, from microversion 3.13: groups of volumes."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import ConfigDict, Field

from nbdsvc.api import filters, group_views, paging, strict
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, Text, answer
from nbdsvc.groups.create import CreateGroupRequest, create_group
from nbdsvc.groups.create_from_source import CreateFromSourceRequest, create_group_from_source
from nbdsvc.groups.delete import delete_group
from nbdsvc.groups.read import get_group, list_groups, volumes_in
from nbdsvc.groups.replicate import replicate_group, replication_targets
from nbdsvc.groups.reset_status import reset_group_status
from nbdsvc.groups.update import UpdateGroupRequest, update_group
from nbdsvc.model.groups import Group

router = strict.router("groups")

_SINCE, _FROM_SOURCE, _RESET, _VOLUMES, _REPLICATION = (3, 13), (3, 14), (3, 20), (3, 25), (3, 38)
_SORTABLE = ("id", "name", "status", "group_type_id", "created_at", "updated_at", "availability_zone")
# Ids of volumes, with commas between them: as many as a column of text can have.
Ids = Annotated[str, Field(max_length=65_535)]


class NewGroup(Body):
    """A new group: the names or ids of its type, and of the types that its volumes may have."""

    group_type: Key
    volume_types: Annotated[list[Key], Field(min_length=1, max_length=100)]
    name: Text | None = None
    description: LongText | None = None
    availability_zone: Text | None = None


class CreateBody(Body):
    """The body of a create."""

    group: NewGroup


class GroupChanges(Body):
    """The fields to change; volumes by their ids, with commas between them."""

    name: Text | None = None
    description: LongText | None = None
    add_volumes: Ids | None = None
    remove_volumes: Ids | None = None


class UpdateBody(Body):
    """The body of an update."""

    group: GroupChanges


class FromSource(Body):
    """A new group from one of two sources."""

    name: Text | None = None
    description: LongText | None = None
    group_snapshot_id: UUID | None = None
    source_group_id: UUID | None = None


class Deletion(Body):
    """Whether the group's volumes go with it."""

    model_config = ConfigDict(populate_by_name=True)

    delete_volumes: bool = Field(default=False, alias="delete-volumes")


class ResetStatus(Body):
    """The status to force."""

    status: Text


class Failover(Body):
    """The target, and whether attached volumes may fail over too."""

    allow_attached_volume: bool = False
    secondary_backend_id: Text | None = None


@router.post("/groups", status_code=202)
def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Create a group without volumes. From 3.13.

    Errors: 400 badRequest (body, zone, or the type of consistency groups); 404 itemNotFound (a type, or a version below
    3.13); 413 overLimit (quota); 503 serviceUnavailable (no backend has what the types demand).
    """
    request.require(_SINCE)
    new = body.group
    wanted = CreateGroupRequest(
        new.group_type, tuple(new.volume_types), new.name, new.description, new.availability_zone or None
    )
    return answer({"group": group_views.summary(create_group(request.app, request.context, wanted))}, 202)


@router.get("/groups")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's groups, in short; with `all_tenants`, for an administrator, of every project. From 3.13; from 3.25
    with `list_volume` also the ids of their volumes.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker, or a version below
    3.13).
    """
    return _list(request, "groups", detail=False)


@router.get("/groups/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's groups with all attributes, otherwise as the short list. From 3.13.

    Errors: 400 badRequest (sort, limit or, from 3.31, an unknown filter); 404 itemNotFound (marker, or a version below
    3.13).
    """
    return _list(request, "groups/detail", detail=True)


@router.get("/groups/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a group; from 3.25 with `list_volume` also the ids of its volumes. From 3.13.

    Errors: 400 badRequest (list_volume); 404 itemNotFound (group, or a version below 3.13).
    """
    request.require(_SINCE)
    return answer({"group": _views(request, [get_group(request.app, request.context, id)])[0]})


@router.put("/groups/{id}", status_code=202)
def update(request: CurrentRequest, id: str, body: UpdateBody) -> Response:
    """Change a group's name or description, let volumes join it and leave it. From 3.13.

    Errors: 400 badRequest (nothing is given, status of the group or of a volume, a volume that there is not or that does
    not fit); 404 itemNotFound (group, or a version below 3.13); 413 overLimit (too many unfinished operations of the
    project).
    """
    request.require(_SINCE)
    update_group(request.app, request.context, id, changes_of(body.group.model_dump(exclude_unset=True)))
    return Response(status_code=202)


def changes_of(given: dict[str, Any]) -> UpdateGroupRequest:
    """The fields of an update, of which those that are null or empty change nothing."""
    changes = {name: given[name] for name in ("name", "description") if given.get(name) is not None}
    added, removed = (_listed(given.get(name)) for name in ("add_volumes", "remove_volumes"))
    return UpdateGroupRequest(changes, added, removed)


def _listed(text: str | None) -> tuple[str, ...]:
    """Each id once, in the order in which they were given."""
    return tuple(dict.fromkeys(id.strip() for id in (text or "").split(",") if id.strip()))


def _from_source(request: ApiRequest, _id: str, body: FromSource) -> Response:
    snapshot, source = (str(each) if each else None for each in (body.group_snapshot_id, body.source_group_id))
    wanted = CreateFromSourceRequest(snapshot, source, body.name, body.description)
    made = create_group_from_source(request.app, request.context, wanted)
    return answer({"group": group_views.summary(made)}, 202)


# The one action that has no group yet.
ACTIONS_OF_ALL = {"create-from-src": Action(_from_source, FromSource, since=_FROM_SOURCE)}


@router.post("/groups/action", status_code=202, openapi_extra=schema(ACTIONS_OF_ALL))
async def act_on_all(request: CurrentRequest, body: Annotated[Any, Json()]) -> Response:
    """Create a group with copies of the volumes of a group snapshot or of another group: `create-from-src`. From 3.14.

    Errors: 400 badRequest (body, status of the source, or a full pool); 404 itemNotFound (source, or a version below
    3.14); 413 overLimit (quota); 503 serviceUnavailable (the backend of the source takes no volumes).
    """
    return await perform(ACTIONS_OF_ALL, request, "", body)


def _delete(request: ApiRequest, id: str, body: Deletion) -> None:
    delete_group(request.app, request.context, id, with_volumes=body.delete_volumes)


def _reset(request: ApiRequest, id: str, body: ResetStatus) -> None:
    reset_group_status(request.app, request.context, id, body.status)


def _replicate(verb: Literal["enable", "disable"]) -> Any:
    def run(request: ApiRequest, id: str, _body: Any) -> None:
        replicate_group(request.app, request.context, id, verb)

    return run


def _fail_over(request: ApiRequest, id: str, body: Failover) -> None:
    target, attached = body.secondary_backend_id or None, body.allow_attached_volume
    replicate_group(request.app, request.context, id, "fail over", target=target, attached=attached)


def _targets(request: ApiRequest, id: str, _body: Any) -> Response:
    found = replication_targets(request.app, request.context, id)
    return answer({"replication_targets": [{"backend_id": each} for each in found]}, 202)


ACTIONS = {
    "delete": Action(_delete, Deletion, since=_SINCE),
    "reset_status": Action(_reset, ResetStatus, since=_RESET),
    "enable_replication": Action(_replicate("enable"), since=_REPLICATION),
    "disable_replication": Action(_replicate("disable"), since=_REPLICATION),
    "failover_replication": Action(_fail_over, Failover, since=_REPLICATION),
    "list_replication_targets": Action(_targets, since=_REPLICATION),
}


@router.post("/groups/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run one action on a group: `delete`, for administrators `reset_status`, or one of its replication.

    Errors: 400 badRequest (action, status of the group or of a volume, volumes or snapshots that are left, or a backend
    that does not replicate groups); 403 forbidden (the caller is no administrator); 404 itemNotFound (group, or a version
    below the action's); 409 conflictingRequest (an operation works on the group); 413 overLimit (too many unfinished
    operations of the project).
    """
    return await perform(ACTIONS, request, id, body)


def _list(request: ApiRequest, path: str, *, detail: bool) -> JSONResponse:
    request.require(_SINCE)
    all_tenants = request.flag("all_tenants")
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "groups")
    rows = list_groups(request.app, request.context, wanted, page, all_tenants=all_tenants)
    shown = _views(request, rows, detail=detail)
    return answer({"groups": shown, **paging.next_link(request, "group", path, page, rows)})


def _views(request: ApiRequest, rows: list[Group], *, detail: bool = True) -> list[dict[str, Any]]:
    wanted = request.version >= _VOLUMES and request.flag("list_volume")
    volumes = volumes_in(request.app, rows) if wanted else {}
    if detail:
        return [group_views.group(row, request.version, volumes.get(row.id)) for row in rows]
    return [group_views.summary(row) | ({"volumes": volumes[row.id]} if wanted else {}) for row in rows]
