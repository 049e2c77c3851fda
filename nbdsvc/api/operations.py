"""/operations (ours, not Cinder's): list, show, cancel and limit operations."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, answer
from nbdsvc.operation_control.cancel import cancel_operation
from nbdsvc.operation_control.limit_rate import limit_rate
from nbdsvc.operation_control.read import get_operation, list_operations

router = strict.router("operations")

_SORTABLE = ("id", "kind", "state", "created_at", "updated_at")


@router.get("/operations")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the project's operations: unfinished ones, and those that ended in the last `operations_kept` days. Not in
    Cinder.

    Errors: 400 badRequest (sort, limit, marker's form or, from 3.31, an unknown filter); 404 itemNotFound (marker).
    """
    all_tenants = request.flag("all_tenants")
    page, wanted = paging.page(request, _SORTABLE), filters.parse(request, "operations")
    rows = list_operations(request.app, request.context, wanted, page, all_tenants=all_tenants)
    shown = [views.operation(row, request.context) for row in rows]
    return answer({"operations": shown, **paging.next_link(request, "operations", "operations", page, rows)})


@router.get("/operations/{id}")
def show(request: CurrentRequest, id: str) -> JSONResponse:
    """Show the progress of an operation and, if it failed, why. Not in Cinder.

    Errors: 404 itemNotFound (operation).
    """
    return answer({"operation": views.operation(get_operation(request.app, request.context, id), request.context)})


def _cancel(request: ApiRequest, id: str, _body: Any) -> None:
    cancel_operation(request.app, request.context, id)


class Limit(Body):
    """A limit on copying."""

    # Bytes a second; 0: no limit.
    rate: Annotated[int, Field(ge=0, le=1 << 50)]


def _limit(request: ApiRequest, id: str, body: Limit) -> None:
    limit_rate(request.app, request.context, id, body.rate)


ACTIONS = {"cancel": Action(_cancel), "limit": Action(_limit, Limit)}


@router.post("/operations/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run an action: `cancel` an operation, or `limit` the bytes a second that it copies. Not in Cinder.

    Errors: 400 badRequest (action, rate, or an operation that has ended); 404 itemNotFound (operation).
    """
    return await perform(ACTIONS, request, id, body)
