"""/volume-transfers and /os-volume-transfer, its older name: a volume that one project offers and another accepts."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import filters, paging, steps, strict, views
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, Text, answer
from nbdsvc.api.waiting import wait_for_result
from nbdsvc.errors import InvalidInput
from nbdsvc.model.entities import Transfer
from nbdsvc.model.listing import Page
from nbdsvc.transfers.accept import accept_transfer
from nbdsvc.transfers.create import create_transfer
from nbdsvc.transfers.delete import delete_transfer
from nbdsvc.transfers.read import get_transfer, list_transfers

OLDER, NEWER = "os-volume-transfer", "volume-transfers"
_SORTABLE = ("id", "name", "created_at", "updated_at", "volume_id")


class NewTransfer(Body):
    """A volume to offer; from 3.55 with `no_snapshots` its snapshots stay."""

    volume_id: UUID
    name: Text | None = None
    no_snapshots: bool | None = None


class CreateBody(Body):
    """The body of a create."""

    transfer: NewTransfer


class Acceptance(Body):
    """The key that create replied."""

    auth_key: Annotated[Key, Field(repr=False)]


class AcceptBody(Body):
    """The body of an accept."""

    accept: Acceptance


def create(request: CurrentRequest, body: CreateBody) -> JSONResponse:
    """Offer a volume, with its snapshots, to whoever has the key in this reply, which is shown only once. The volume is
    `awaiting-transfer` until it is accepted, or the transfer deleted.

    Errors: 400 badRequest (status of the volume or of a snapshot, or it is attached or in a migration); 404 itemNotFound
    (volume).
    """
    wanted = body.transfer
    if wanted.no_snapshots is not None and request.version < steps.TRANSFERRED_SNAPSHOTS:
        raise InvalidInput(field="transfer.no_snapshots", value=None, reason="there is no such field below 3.55")
    name = wanted.name.strip() if wanted.name is not None else None
    snapshots_stay = bool(wanted.no_snapshots)
    made, key = create_transfer(request.app, request.context, str(wanted.volume_id), name, no_snapshots=snapshots_stay)
    return answer({"transfer": _detail(request, made) | {"auth_key": key}}, 202)


def listing(request: CurrentRequest) -> JSONResponse:
    """List the transfers that the project has offered, in short; with `all_tenants`, for an administrator, of every project.

    Errors: 400 badRequest (limit, from 3.59 sort and, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=False)


def detail(request: CurrentRequest) -> JSONResponse:
    """List the transfers that the project has offered, with all attributes; `all_tenants` as in the short list.

    Errors: 400 badRequest (limit, from 3.59 sort and, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    return _list(request, detail=True)


def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show a transfer that the project has offered.

    Errors: 404 itemNotFound (transfer).
    """
    return answer({"transfer": _detail(request, get_transfer(request.app, request.context, id))})


def delete(request: CurrentRequest, id: str) -> Response:
    """Withdraw a transfer; its volume is available again.

    Errors: 404 itemNotFound (transfer); 409 conflictingRequest (it is being accepted).
    """
    delete_transfer(request.app, request.context, id)
    return Response(status_code=202)


async def accept(request: CurrentRequest, id: str, body: AcceptBody) -> JSONResponse:
    """Accept a volume, with its snapshots, into the caller's project, by the key of its transfer.

    Errors: 400 badRequest (the key, too many wrong ones, status of the volume or of a snapshot, or a type that the project
    may not use); 404 itemNotFound (transfer); 409 conflictingRequest (another request accepts it); 413 overLimit (quota);
    503 serviceUnavailable (the backend could not change the owner, or took longer than attach_timeout).
    """
    found = await wait_for_result(
        request.app, lambda: accept_transfer(request.app, request.context, id, body.accept.auth_key)
    )
    return answer({"transfer": _summary(request, found)}, 202)


def _routes() -> APIRouter:
    made = strict.router("transfers")
    for noun in (NEWER, OLDER):
        add, one = made.add_api_route, f"/{noun}/{{id}}"
        for method, path, run, status in (
            ("POST", f"/{noun}", create, 202),
            ("GET", f"/{noun}", listing, 200),
            ("GET", f"/{noun}/detail", detail, 200),
            ("GET", one, show, 200),
            ("DELETE", one, delete, 202),
            ("POST", f"{one}/accept", accept, 202),
        ):
            name = f"{run.__name__} {noun}"
            add(path, run, methods=[method], status_code=status, name=name, response_model=None)
    return made


router = _routes()


def _list(request: ApiRequest, *, detail: bool) -> JSONResponse:
    all_tenants, page = request.flag("all_tenants"), _page(request)
    wanted = filters.parse(request, "transfers")
    rows = list_transfers(request.app, request.context, wanted, page, all_tenants=all_tenants)
    shown = [(_detail if detail else _summary)(request, row) for row in rows]
    noun = NEWER if f"/{NEWER}" in request.http.url.path else OLDER
    path = f"{noun}/detail" if detail else noun
    paged = noun == NEWER and request.version >= steps.TRANSFER_PAGES
    links = paging.next_link(request, "transfers", path, page, rows) if paged else {}
    return answer({"transfers": shown, **links})


def _page(request: ApiRequest) -> Page:
    """Oldest first; below 3.59 in this order only, and with no marker."""
    page = paging.page(request, _SORTABLE, "created_at:asc", ("id", False))
    if request.version >= steps.TRANSFER_PAGES:
        return page
    return Page(page.limit, page.offset, None, (("created_at", False), ("id", False)))


def _summary(request: ApiRequest, row: Transfer) -> dict[str, Any]:
    base = request.link().rstrip("/")
    links = views.links(base, request.context.project_id, OLDER, row.id)
    return {"id": row.id, "name": row.name, "volume_id": row.volume_id, "links": links}


def _detail(request: ApiRequest, row: Transfer) -> dict[str, Any]:
    shown = _summary(request, row) | {"created_at": views.stamp(row.created_at)}
    if request.version >= steps.TRANSFERRED_SNAPSHOTS:
        shown["no_snapshots"] = row.no_snapshots
    if request.version >= steps.TRANSFER_HISTORY:
        shown["source_project_id"] = row.project_id
        shown["destination_project_id"] = row.destination_project_id
        shown["accepted"] = row.accepted
    return shown
