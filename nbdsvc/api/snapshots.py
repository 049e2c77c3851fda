"""/snapshots, their metadata and actions."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response

from nbdsvc import errors
from nbdsvc import metadata as resource_metadata
from nbdsvc.api import filters, metadata, paging, strict, views
from nbdsvc.api.actions import Action, perform, plain, schema
from nbdsvc.api.request import Ask, Asked, Body, LongText, Metadata, Text, answer
from nbdsvc.snapshots.create import CreateSnapshotRequest, create_snapshot
from nbdsvc.snapshots.delete import delete_snapshot
from nbdsvc.snapshots.read import get_snapshot, list_snapshots
from nbdsvc.snapshots.reset_status import reset_snapshot_status
from nbdsvc.snapshots.unmanage import unmanage_snapshot
from nbdsvc.snapshots.update import update_snapshot

router = strict.router("snapshots")

_SORTABLE = ("id", "name", "status", "created_at", "updated_at", "volume_id", "volume_size")


class NewSnapshot(Body):
    volume_id: Text | None
    name: Text | None = None
    display_name: Text | None = None
    description: LongText | None = None
    display_description: LongText | None = None
    force: bool = False
    metadata: Metadata | None = None


class CreateBody(Body):
    snapshot: NewSnapshot


class SnapshotChanges(Body):
    name: Text | None = None
    display_name: Text | None = None
    description: LongText | None = None
    display_description: LongText | None = None


class UpdateBody(Body):
    snapshot: SnapshotChanges


class ResetStatus(Body):
    status: str


@router.post("/snapshots", status_code=202)
def create(asked: Ask, body: CreateBody) -> JSONResponse:
    """Take a snapshot of a volume; with `force` also while it is in use."""
    wanted = body.snapshot
    if wanted.volume_id is None:
        raise errors.NotFound(resource="Volume", id="None")
    request = CreateSnapshotRequest(
        wanted.volume_id,
        wanted.name if wanted.name is not None else wanted.display_name,
        wanted.description if wanted.description is not None else wanted.display_description,
        wanted.metadata or {},
        force=wanted.force,
    )
    made = create_snapshot(asked.app, asked.context, request)
    return answer({"snapshot": views.snapshot(made, asked.version)}, 202)


@router.get("/snapshots")
def listing(asked: Ask) -> JSONResponse:
    """The project's snapshots, short; with `all_tenants` and as an administrator everybody's."""
    return _list(asked, "snapshots", detail=False)


@router.get("/snapshots/detail")
def detail(asked: Ask) -> JSONResponse:
    """The same with all attributes."""
    return _list(asked, "snapshots/detail", detail=True)


@router.get("/snapshots/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One snapshot."""
    return answer({"snapshot": views.snapshot(get_snapshot(asked.app, asked.context, id), asked.version, extras=True)})


@router.put("/snapshots/{id}")
def update(asked: Ask, id: str, body: UpdateBody) -> JSONResponse:
    """Change name or description."""
    given = body.snapshot.model_dump(exclude_unset=True)
    changes = {key.removeprefix("display_"): value for key, value in given.items()}
    if not changes:
        raise errors.InvalidInput(field="snapshot", value=None, reason="needs name or description")
    made = update_snapshot(asked.app, asked.context, id, **changes)
    return answer({"snapshot": views.snapshot(made, asked.version)})


@router.delete("/snapshots/{id}", status_code=202)
def delete(asked: Ask, id: str) -> Response:
    """Delete a snapshot."""
    delete_snapshot(asked.app, asked.context, id)
    return Response(status_code=202)


def _reset(asked: Asked, id: str, wish: ResetStatus) -> None:
    """An administrator's word; refused while an operation works on the snapshot."""
    reset_snapshot_status(asked.app, id, wish.status)


def _force_delete(asked: Asked, id: str, _wish: Any) -> None:
    delete_snapshot(asked.app, asked.context, id, force=True)


ACTIONS = {
    "os-reset_status": Action(_reset, ResetStatus, admin=True),
    "os-force_delete": Action(_force_delete, admin=True),
    "os-unmanage": Action(plain(unmanage_snapshot), admin=True),
}


@router.post("/snapshots/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(asked: Ask, id: str, body: Annotated[Any, Json()]) -> Response:
    """An administrator's `os-reset_status`, `os-force_delete` or `os-unmanage`."""
    return await perform(ACTIONS, asked, id, body)


def _list(asked: Asked, path: str, *, detail: bool) -> JSONResponse:
    all_tenants = asked.flag("all_tenants")
    page, wanted = paging.page(asked, _SORTABLE), filters.parse(asked, "snapshots")
    rows = list_snapshots(asked.app, asked.context, wanted, page, all_tenants=all_tenants)
    if detail:
        shown = [views.snapshot(row, asked.version, extras=True) for row in rows]
    else:
        shown = [views.snapshot_summary(row) for row in rows]
    return answer({"snapshots": shown, **paging.next_link(asked, "snapshots", path, page, rows)})


metadata.add_routes(router, "snapshots", resource_metadata.SNAPSHOT)
