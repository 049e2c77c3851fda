"""/attachments, from microversion 3.27; os-complete from 3.44."""

from typing import Annotated, Any, Literal

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.connector import Connector
from nbdsvc.api.request import Ask, Asked, Body, Text, answer
from nbdsvc.api.waiting import at_once, settled
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
    volume_uuid: Text
    instance_uuid: Annotated[Text, Field(max_length=64)] | None = None
    connector: Connector | None = None
    mode: Literal["rw", "ro"] | None = None


class CreateBody(Body):
    attachment: NewAttachment


class Changes(Body):
    connector: Connector


class UpdateBody(Body):
    attachment: Changes


@router.post("/attachments")
async def create(asked: Ask, body: CreateBody) -> JSONResponse:
    """Reserve a volume for an instance, and with a connector export it at once. From 3.27."""
    asked.require(_SINCE)
    row = await settled(asked.app, lambda: _create(asked, body))
    return answer({"attachment": _view(asked, row)})


def _create(asked: Asked, body: CreateBody) -> Waiting[Attachment]:
    wanted = body.attachment
    connector = wanted.connector or {}
    mode = wanted.mode or connector.get("mode") or "rw"
    row = reserve_attachment(asked.app, asked.context, wanted.volume_uuid, wanted.instance_uuid, mode)
    return _connect(asked, row.id, connector) if connector else at_once(row)


@router.get("/attachments")
def listing(asked: Ask) -> JSONResponse:
    """The attachments, short. From 3.27."""
    return _list(asked, detail=False)


@router.get("/attachments/detail")
def detail(asked: Ask) -> JSONResponse:
    """The attachments, without what an initiator needs to get in. From 3.27."""
    return _list(asked, detail=True)


@router.get("/attachments/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One attachment, with what its initiator needs to connect; its keys only for who may attach. From 3.27."""
    asked.require(_SINCE)
    row = get_attachment(asked.app, asked.context, id)
    return answer({"attachment": _view(asked, row) if asked.context.may_write else views.attachment(row, detail=True)})


@router.put("/attachments/{id}")
async def update(asked: Ask, id: str, body: UpdateBody) -> JSONResponse:
    """Export the volume to this connector. From 3.27; before 3.44 this also completes the attachment."""
    asked.require(_SINCE)
    if not body.attachment.connector:
        raise errors.InvalidInput(field="attachment.connector", value=None, reason="must not be empty")
    row = await settled(asked.app, lambda: _connect(asked, id, body.attachment.connector))
    return answer({"attachment": _view(asked, row)})


@router.delete("/attachments/{id}")
async def delete(asked: Ask, id: str) -> JSONResponse:
    """End an attachment's access; answers the volume's other attachments. From 3.27."""
    asked.require(_SINCE)
    left = await settled(asked.app, lambda: delete_attachment(asked.app, asked.context, id))
    return answer({"attachments": [views.attachment(row) for row in left]})


def _complete(asked: Asked, id: str, _wish: Any) -> None:
    complete_attachment(asked.app, asked.context, id)


ACTIONS = {"os-complete": Action(_complete, since=_COMPLETE_SINCE, ok=204)}


@router.post("/attachments/{id}/action", status_code=204, response_class=Response, openapi_extra=schema(ACTIONS))
async def act(asked: Ask, id: str, body: Annotated[Any, Json()]) -> Response:
    """`os-complete`: the initiator has the volume. From 3.44."""
    asked.require(_SINCE)
    return await perform(ACTIONS, asked, id, body)


def _connect(asked: Asked, id: str, connector: dict[str, Any]) -> Waiting[Attachment]:
    complete = asked.version < _COMPLETE_SINCE
    return connect_attachment(asked.app, asked.context, id, connector, complete=complete)


def _view(asked: Asked, row: Attachment) -> dict[str, Any]:
    """With the secrets that its initiator needs."""
    return views.attachment(row, detail=True, connection_info=connection_info(asked.app, row))


def _list(asked: Asked, *, detail: bool) -> JSONResponse:
    asked.require(_SINCE)
    all_tenants = asked.flag("all_tenants")
    page, wanted = paging.page(asked, _SORTABLE), filters.parse(asked, "attachments")
    rows = list_attachments(asked.app, asked.context, wanted, page, all_tenants=all_tenants)
    shown = [views.attachment(row, detail=detail) for row in rows]
    return answer({"attachments": shown})  # without links to pages, which the API has not for attachments
