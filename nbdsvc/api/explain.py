"""/explain (ours, not Cinder's): what differs between rows, storage, exports and initiators, and what would mend it."""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Annotated, TypeVar

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, answer
from nbdsvc.app import App, Waiting
from nbdsvc.explain.explain import Mended, explain, mend

T = TypeVar("T")

router = strict.router("explain")


class Selection(Body):
    """`keys` of findings, and the subject that they were found for."""

    keys: Annotated[list[Key], Field(min_length=1, max_length=1000)]
    subject: Key | None = None


class MendBody(Body):
    """The body of mending."""

    mend: Selection


@router.get("/explain")
async def show(request: CurrentRequest) -> JSONResponse:
    """Show what differs about `subject`: id of a volume or snapshot, or host@backend; without it, everything. Of each
    finding: what, since when, what would mend it, and what `POST explain` would do about it (`fix`, null for nothing). For
    administrators. Not in Cinder.

    Errors: 403 forbidden (the caller is no administrator).
    """
    subject = request.query.get("subject") or None
    found = await _result(request.app, lambda: explain(request.app, request.context, subject))
    return answer({"findings": found})


@router.post("/explain")
async def mend_findings(request: CurrentRequest, body: MendBody) -> JSONResponse:
    """Mend findings that have a `fix`, by their keys; each is looked at again first. `error` says why one was not mended.
    Nothing of it removes bytes of a volume or snapshot. For administrators. Not in Cinder.

    Errors: 403 forbidden (the caller is no administrator).
    """
    wanted = body.mend
    found = await _result(request.app, lambda: mend(request.app, request.context, wanted.subject, wanted.keys))
    return answer({"mended": [asdict(await _ended(request, each)) for each in found]})


async def _result(app: App, use_case: Callable[[], Waiting[T]]) -> T:
    """What hosts answered. One that did not is a finding."""
    found = await run_in_threadpool(use_case)
    for id in found.operations:
        with contextlib.suppress(errors.Error):
            await app.operations.ended(id, found.seconds)
    return await run_in_threadpool(found.result)


async def _ended(request: ApiRequest, mended: Mended) -> Mended:
    """With the error of the operation that went on with it."""
    try:
        if mended.operation:
            await request.app.operations.ended(mended.operation, request.app.settings.attach_timeout)
        return mended
    except errors.Error as error:
        return replace(mended, error=str(error))
