"""/attachments, from microversion 3.27; os-complete from 3.44."""

from typing import Annotated, Any, Literal

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import filters, paging, steps, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.connector import Connector
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Text, answer
from nbdsvc.api.waiting import ready, wait_for_result
from nbdsvc.app import Waiting
from nbdsvc.attachments.complete import complete_attachment
from nbdsvc.attachments.connect import connect_attachment
from nbdsvc.attachments.connection_info import connection_info
from nbdsvc.attachments.delete import delete_attachment
from nbdsvc.attachments.read import get_attachment, list_attachments
from nbdsvc.attachments.reserve import reserve_attachment
from nbdsvc.model.entities import Attachment

router = strict.router("attachments")

_SINCE = (3, 27)
_COMPLETE_SINCE = (3, 44)
_SORTABLE = ("id", "status", "created_at", "updated_at", "volume_id", "instance_uuid")


class NewAttachment(Body):
    """A volume to reserve for `instance_uuid`; with a connector it is exported at once. `mode`: from 3.54."""

    volume_uuid: Text
    instance_uuid: Annotated[Text, Field(max_length=64)] | None = None
    connector: Connector | None = None
    mode: Literal["rw", "ro"] | None = None


class CreateBody(Body):
    """The body of a create."""

    attachment: NewAttachment


class Changes(Body):
    """The connector to export the volume to."""

    connector: Connector


class UpdateBody(Body):
    """The body of an update."""

    attachment: Changes


@router.post("/attachments")
async def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Reserve a volume for an instance; with a connector, also export the volume to it and wait. From 3.27.

    Errors: 400 badRequest (connector, mode, or a status of the volume that allows no attachment); 404 itemNotFound
    (volume, or a version below 3.27); 409 conflictingRequest (access was ended meanwhile, or the export was cancelled);
    413 overLimit (too many unfinished operations of the project); 503 serviceUnavailable (the export failed, or took
    longer than attach_timeout).
    """
    request.require(_SINCE)
    row = await wait_for_result(request.app, lambda: _create(request, body))
    return answer({"attachment": _view(request, row)})


def _create(request: ApiRequest, body: CreateBody) -> Waiting[Attachment]:
    wanted = body.attachment
    if "mode" in wanted.model_fields_set and request.version < steps.ATTACHMENT_MODE:
        raise errors.InvalidInput(field="attachment.mode", value=None, reason="there is no such field below 3.54")
    connector = wanted.connector or {}
    mode = wanted.mode or connector.get("mode") or "rw"
    row = reserve_attachment(request.app, request.context, wanted.volume_uuid, wanted.instance_uuid, mode)
    return _connect(request, row.id, connector) if connector else ready(row)


@router.get("/attachments")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's attachments, in short. From 3.27.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=False)


@router.get("/attachments/detail")
def detail(request: CurrentRequest) -> JSONResponse:
    """List the project's attachments with their connection_info, without secrets. From 3.27.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=True)


@router.get("/attachments/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show an attachment with its connection_info; secrets only for a user who may write. From 3.27.

    Errors: 404 itemNotFound (attachment, or a version below 3.27).
    """
    request.require(_SINCE)
    row = get_attachment(request.app, request.context, id)
    return answer(
        {
            "attachment": _view(request, row)
            if request.permissions.allows("volume:attachment_update")
            else views.attachment(row, detail=True)
        }
    )


@router.put("/attachments/{id}")
async def update(request: CurrentRequest, id: str, body: UpdateBody) -> JSONResponse:
    """Export the volume of an attachment to a connector, and wait. From 3.27; before 3.44 this also completes the
    attachment.

    Errors: 400 badRequest (connector, mode, or status); 404 itemNotFound (attachment, or a version below 3.27); 409
    conflictingRequest (access was ended meanwhile, or the export was cancelled); 413 overLimit (too many unfinished
    operations of the project); 503 serviceUnavailable (the export failed, or took longer than attach_timeout).
    """
    request.require(_SINCE)
    if not body.attachment.connector:
        raise errors.InvalidInput(field="attachment.connector", value=None, reason="must not be empty")
    row = await wait_for_result(request.app, lambda: _connect(request, id, body.attachment.connector))
    return answer({"attachment": _view(request, row)})


@router.delete("/attachments/{id}")
async def delete(request: CurrentRequest, id: str) -> JSONResponse:
    """Delete an attachment: end its access, remove its export, and reply with the volume's other attachments. From
    3.27.

    Errors: 400 badRequest (status); 404 itemNotFound (attachment, or a version below 3.27); 409 conflictingRequest
    (cancelled); 503 serviceUnavailable (the export was not removed in attach_timeout, or the database took no record
    after the access was ended).
    """
    request.require(_SINCE)
    left = await wait_for_result(request.app, lambda: delete_attachment(request.app, request.context, id))
    return answer({"attachments": [views.attachment(row) for row in left]})


def _complete(request: ApiRequest, id: str, _body: Any) -> None:
    complete_attachment(request.app, request.context, id)


ACTIONS = {"os-complete": Action(_complete, since=_COMPLETE_SINCE, ok=204)}


@router.post("/attachments/{id}/action", status_code=204, response_class=Response, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run the action `os-complete` of an attachment: the initiator has the volume. From 3.44.

    Errors: 400 badRequest (action, status, or an attachment without a connector); 404 itemNotFound (attachment, or a
    version below 3.44).
    """
    request.require(_SINCE)
    return await perform(ACTIONS, request, id, body)


def _connect(request: ApiRequest, id: str, connector: dict[str, Any]) -> Waiting[Attachment]:
    complete = request.version < _COMPLETE_SINCE
    return connect_attachment(request.app, request.context, id, connector, complete=complete)


def _view(request: ApiRequest, row: Attachment) -> dict[str, Any]:
    """The attachment as JSON, with the secrets that its initiator needs."""
    return views.attachment(row, detail=True, connection_info=connection_info(request.app, row))


def _list(request: ApiRequest, *, detail: bool) -> JSONResponse:
    request.require(_SINCE)
    all_tenants = request.flag("all_tenants")
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "attachments")
    rows = list_attachments(request.app, request.context, wanted, page, all_tenants=all_tenants)
    shown = [views.attachment(row, detail=detail) for row in rows]
    return answer({"attachments": shown})  # the API has no links to further pages of attachments
