"""/messages, from microversion 3.3: why a request failed after its reply."""

from typing import Any

from fastapi.responses import JSONResponse, Response

from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.request import ApiRequest, CurrentRequest, answer
from nbdsvc.messages.delete import delete_message
from nbdsvc.messages.read import Message, get_message, list_messages
from nbdsvc.model.listing import Page
from nbdsvc.model.operation import Operation

router = strict.router("messages")

_SINCE, _PAGES_SINCE = (3, 3), (3, 5)


@router.get("/messages")
def listing(request: CurrentRequest) -> JSONResponse:
    """List why operations failed, newest first. From 3.3; in pages from 3.5.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker), and
    for a version below 3.3.
    """
    request.require(_SINCE)
    all_tenants = request.flag("all_tenants")
    page = paging.page(request, ("id", "created_at")) if request.version >= _PAGES_SINCE else _one_page(request)
    wanted = filters.parse(request, "messages")
    found = list_messages(request.app, request.context, wanted, page, all_tenants=all_tenants)
    shown = [_view(request, message) for message in found]
    return answer({"messages": shown, **paging.next_link(request, "messages", "messages", page, found)})


@router.get("/messages/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show why an operation failed. From 3.3.

    Errors: 404 itemNotFound (message, or a version below 3.3).
    """
    request.require(_SINCE)
    return answer({"message": _view(request, get_message(request.app, request.context, id))})


@router.delete("/messages/{id}", status_code=204, response_class=Response)
def delete(request: CurrentRequest, id: str) -> Response:
    """Delete a message and the failed operation that it is read from. From 3.3.

    Errors: 404 itemNotFound (message, or a version below 3.3).
    """
    request.require(_SINCE)
    delete_message(request.app, request.context, id)
    return Response(status_code=204)


def _one_page(request: ApiRequest) -> Page:
    return Page(limit=request.app.settings.max_limit)


def _sequel(failed: Operation) -> str:
    """What became of it, where this was not the last attempt, or not the first."""
    if failed.continued_by:
        return f" It goes on in another pool, by operation {failed.continued_by}."
    return f" {len(failed.tried) + 1} pools were tried." if failed.tried else ""


def _view(request: ApiRequest, message: Message) -> dict[str, Any]:
    failed = message.operation
    reason = views.failure(failed, request.context) or "it failed"
    href = request.link("v3", request.context.project_id, "messages", message.id)
    return {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": f"{failed.kind.replace('.', ' ')}: {reason}{_sequel(failed)}",
        "message_level": "ERROR",
        "resource_type": message.resource_type,
        "resource_uuid": failed.resource_id,
        "request_id": failed.request_id,
        "created_at": views.stamp(failed.created_at),
        "guaranteed_until": views.stamp(message.guaranteed_until),
        "links": [{"rel": "self", "href": href}, {"rel": "bookmark", "href": href}],
    }
