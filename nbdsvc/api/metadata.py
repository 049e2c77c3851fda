"""/NOUN/{id}/metadata, the same for every noun that has any."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api.request import Ask, Asked, Body, Metadata, answer

Get = Callable[[Asked, str], dict[str, str]]
# Changes by key (None removes it), and whether they replace all there is; returns what there is afterwards.
Edit = Callable[[Asked, str, dict[str, str | None], bool], dict[str, str]]


class MetadataBody(Body):
    metadata: Metadata


class MetaBody(Body):
    meta: Annotated[Metadata, Field(min_length=1, max_length=1)]


def add_routes(router: APIRouter, noun: str, get: Get, edit: Edit) -> None:
    """Add the six routes to the noun's router."""
    everything, one = f"/{noun}/{{id}}/metadata", f"/{noun}/{{id}}/metadata/{{key}}"

    def item(asked: Asked, id: str, key: str) -> str:
        found = get(asked, id)
        if key not in found:
            raise errors.NotFound(resource="Metadata item", id=key)
        return found[key]

    @router.get(everything)
    def metadata(asked: Ask, id: str) -> JSONResponse:
        return answer({"metadata": get(asked, id)})

    @router.post(everything)
    def add(asked: Ask, id: str, body: MetadataBody) -> JSONResponse:
        return answer({"metadata": edit(asked, id, dict(body.metadata), False)})

    @router.put(everything)
    def replace(asked: Ask, id: str, body: MetadataBody) -> JSONResponse:
        return answer({"metadata": edit(asked, id, dict(body.metadata), True)})

    @router.get(one)
    def show(asked: Ask, id: str, key: str) -> JSONResponse:
        return answer({"meta": {key: item(asked, id, key)}})

    @router.put(one)
    def set_one(asked: Ask, id: str, key: str, body: MetaBody) -> JSONResponse:
        if key not in body.meta:
            raise errors.InvalidInput(field="meta", value=key, reason="the body must have the key that the path names")
        edit(asked, id, dict(body.meta), False)
        return answer({"meta": body.meta})

    @router.delete(one)
    def delete(asked: Ask, id: str, key: str) -> Response:
        item(asked, id, key)
        edit(asked, id, {key: None}, False)
        return Response(status_code=200)
