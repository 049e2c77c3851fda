"""/operations: ours. What is under way, how far it is, why it failed, and how to stop it."""

from typing import Annotated, Any

from fastapi import Body as Json
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import app as manager
from nbdsvc.api import filters, paging, strict, views
from nbdsvc.api.actions import Action, perform, schema
from nbdsvc.api.request import Ask, Asked, Body, answer
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.store import tables

router = strict.router("operations")


@router.get("/operations")
def listing(asked: Ask) -> JSONResponse:
    """What is under way, and what has ended not too long ago."""
    project = manager.scope(asked.context, asked.flag("all_tenants"))
    wanted = paging.page(asked, ("id", "kind", "state", "created_at", "updated_at"), project=project)
    where = filters.conditions(asked, tables.operations)
    if project is not None:
        where.append(tables.operations.c.project_id == project)
    with asked.app.database.read() as conn:
        rows = journal.rows.select(conn, *where, page=wanted)
    shown = [views.operation(row, asked.context) for row in rows]
    return answer({"operations": shown, **paging.next_link(asked, "operations", "operations", wanted, rows)})


@router.get("/operations/{id}")
def show(asked: Ask, id: str) -> JSONResponse:
    """One operation: how far it is, or why it failed."""
    return answer({"operation": views.operation(_get(asked, id), asked.context)})


def _cancel(asked: Asked, id: str, _wish: Any) -> None:
    _get(asked, id)
    with asked.app.change() as conn:
        asked.app.operations.cancel(conn, id)
    asked.app.operations.cancelled(id)


class Limit(Body):
    """rate: bytes a second, 0 for no limit."""

    rate: Annotated[int, Field(ge=0, le=1 << 50)]


def _limit(asked: Asked, id: str, wish: Limit) -> None:
    _get(asked, id)
    with asked.app.database.write() as conn:
        asked.app.operations.limit(conn, id, wish.rate)


ACTIONS = {"cancel": Action(_cancel), "limit": Action(_limit, Limit)}


@router.post("/operations/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(asked: Ask, id: str, body: Annotated[Any, Json()]) -> Response:
    """`cancel` an operation, or `limit` the bytes a second of its copy."""
    return await perform(ACTIONS, asked, id, body)


def _get(asked: Asked, id: str) -> Operation:
    with asked.app.database.read() as conn:
        return journal.rows.get(conn, id, manager.owner_scope(asked.context))
