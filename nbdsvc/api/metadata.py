"""/NOUN/{id}/metadata, the same for every noun that has any. From microversion 3.15 with ETag and If-Match."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Metadata, answer
from nbdsvc.metadata import Metadata as ResourceMetadata
from nbdsvc.metadata import etag

_TAGS_SINCE = (3, 15)


class MetadataBody(Body):
    """Any number of pairs."""

    metadata: Metadata


class MetaBody(Body):
    """A request with one pair of metadata."""

    meta: Annotated[Metadata, Field(min_length=1, max_length=1)]


def add_routes(router: APIRouter, noun: str, pairs: ResourceMetadata) -> None:
    """Add the six routes to the noun's router."""
    everything, one = f"/{noun}/{{id}}/metadata", f"/{noun}/{{id}}/metadata/{{key}}"

    def get(request: ApiRequest, id: str) -> dict[str, str]:
        return pairs.read(request.app, request.context, id)

    def edit(
        request: ApiRequest, id: str, changes: Mapping[str, str | None], *, replace: bool = False
    ) -> dict[str, str]:
        expected = _if_match(request)
        return pairs.edit(request.app, request.context, id, changes, replace=replace, expected=expected)

    def item(request: ApiRequest, id: str, key: str) -> str:
        found = get(request, id)
        if key not in found:
            raise errors.NotFound(resource="Metadata item", id=key)
        return found[key]

    @router.get(everything)
    def metadata(request: CurrentRequest, id: str) -> JSONResponse:
        """Show all key-value pairs; from 3.15 with an ETag.

        Errors: 404 itemNotFound (resource).
        """
        return _tagged(request, get(request, id))

    @router.post(everything)
    def add(request: CurrentRequest, id: str, body: MetadataBody) -> JSONResponse:
        """Set these pairs and keep the others; from 3.15 with If-Match against lost updates.

        Errors: 400 badRequest (pairs); 404 itemNotFound (resource); 412 computeFault (If-Match has no current tag).
        """
        return _tagged(request, edit(request, id, body.metadata))

    @router.put(everything)
    def replace(request: CurrentRequest, id: str, body: MetadataBody) -> JSONResponse:
        """Set these pairs and remove the others; from 3.15 with If-Match.

        Errors: 400 badRequest (pairs); 404 itemNotFound (resource); 412 computeFault (If-Match has no current tag).
        """
        return _tagged(request, edit(request, id, body.metadata, replace=True))

    @router.get(one)
    def show(request: CurrentRequest, id: str, key: str) -> JSONResponse:
        """Show one pair.

        Errors: 404 itemNotFound (resource or key).
        """
        return answer({"meta": {key: item(request, id, key)}})

    @router.put(one)
    def set_one(request: CurrentRequest, id: str, key: str, body: MetaBody) -> JSONResponse:
        """Set one pair; from 3.15 with If-Match.

        Errors: 400 badRequest (the body's key is not that of the path); 404 itemNotFound (resource); 412 computeFault
        (If-Match has no current tag).
        """
        if key not in body.meta:
            raise errors.InvalidInput(field="meta", value=key, reason="the body must have the key that the path names")
        edit(request, id, body.meta)
        return answer({"meta": body.meta})

    @router.delete(one)
    def delete(request: CurrentRequest, id: str, key: str) -> Response:
        """Remove one pair; from 3.15 with If-Match.

        Errors: 404 itemNotFound (resource or key); 412 computeFault (If-Match has no current tag).
        """
        item(request, id, key)
        edit(request, id, {key: None})
        return Response(status_code=200)


def _tagged(request: ApiRequest, content: dict[str, str]) -> JSONResponse:
    made = answer({"metadata": content})
    if request.version >= _TAGS_SINCE:
        made.headers["ETag"] = f'"{etag(content)}"'
    return made


def _if_match(request: ApiRequest) -> list[str] | None:
    """The tags of If-Match (RFC 9110, 13.1.1), without their quotes; None where it does not count."""
    header = request.http.headers.get("if-match")
    if header is None or request.version < _TAGS_SINCE:
        return None
    return [tag.strip().strip('"') for tag in header.split(",")]
