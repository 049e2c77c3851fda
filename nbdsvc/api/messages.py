"""/messages, from microversion 3.3: why a request failed after its reply."""

from typing import Any

from fastapi.responses import JSONResponse, Response

from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.request import Ask, Asked, answer
from nbdsvc.messages.delete import delete_message
from nbdsvc.messages.read import Message, get_message, list_messages
from nbdsvc.model.listing import Page

router = strict.router("messages")

_SINCE, _PAGES_SINCE = (3, 3), (3, 5)


@router.get("/messages")
def listing(asked: Ask) -> JSONResponse:
    """Why operations failed, newest first. From 3.3; in pages from 3.5."""
    asked.require(_SINCE)
    all_tenants = asked.flag("all_tenants")
    page = paging.page(asked, ("id", "created_at")) if asked.version >= _PAGES_SINCE else _one_page(asked)
    wanted = filters.parse(asked, "messages")
    found = list_messages(asked.app, asked.context, wanted, page, all_tenants=all_tenants)
    shown = [_view(asked, message) for message in found]
    return answer({"messages": shown, **paging.next_link(asked, "messages", "messages", page, found)})


@router.get("/messages/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One message. From 3.3."""
    asked.require(_SINCE)
    return answer({"message": _view(asked, get_message(asked.app, asked.context, id))})


@router.delete("/messages/{id}", status_code=204, response_class=Response)
def delete(asked: Ask, id: str) -> Response:
    """Forget a message, and the operation that it is read from. From 3.3."""
    asked.require(_SINCE)
    delete_message(asked.app, asked.context, id)
    return Response(status_code=204)


def _one_page(asked: Asked) -> Page:
    return Page(limit=asked.app.settings.max_limit)


def _view(asked: Asked, message: Message) -> dict[str, Any]:
    failed = message.operation
    reason = views.failure(failed, asked.context) or "it failed"
    href = asked.link("v3", asked.context.project_id, "messages", message.id)
    return {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": f"{failed.kind.replace('.', ' ')}: {reason}",
        "message_level": "ERROR",
        "resource_type": message.resource_type,
        "resource_uuid": failed.resource_id,
        "request_id": failed.request_id,
        "created_at": views.stamp(failed.created_at),
        "guaranteed_until": views.stamp(message.guaranteed_until),
        "links": [{"rel": "self", "href": href}, {"rel": "bookmark", "href": href}],
    }
