"""/operations: ours. What is under way, how far it is, why it failed, and how to stop it."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import Ask, Asked, Body, answer
from nbdsvc.operation_control.cancel import cancel_operation
from nbdsvc.operation_control.limit_rate import limit_rate
from nbdsvc.operation_control.read import get_operation, list_operations

router = strict.router("operations")

_SORTABLE = ("id", "kind", "state", "created_at", "updated_at")


@router.get("/operations")
def listing(asked: Ask) -> JSONResponse:
    """What is under way, and what has ended not too long ago."""
    all_tenants = asked.flag("all_tenants")
    page, wanted = paging.page(asked, _SORTABLE), filters.parse(asked, "operations")
    rows = list_operations(asked.app, asked.context, wanted, page, all_tenants=all_tenants)
    shown = [views.operation(row, asked.context) for row in rows]
    return answer({"operations": shown, **paging.next_link(asked, "operations", "operations", page, rows)})


@router.get("/operations/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One operation: how far it is, or why it failed."""
    return answer({"operation": views.operation(get_operation(asked.app, asked.context, id), asked.context)})


def _cancel(asked: Asked, id: str, _wish: Any) -> None:
    cancel_operation(asked.app, asked.context, id)


class Limit(Body):
    """rate: bytes a second, 0 for no limit."""

    rate: Annotated[int, Field(ge=0, le=1 << 50)]


def _limit(asked: Asked, id: str, wish: Limit) -> None:
    limit_rate(asked.app, asked.context, id, wish.rate)


ACTIONS = {"cancel": Action(_cancel), "limit": Action(_limit, Limit)}


@router.post("/operations/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(asked: Ask, id: str, body: Annotated[Any, Json()]) -> Response:
    """`cancel` an operation, or `limit` the bytes a second of its copy."""
    return await perform(ACTIONS, asked, id, body)
