"""/NOUN/{id}/metadata, the same for every noun that has any. From microversion 3.15 with ETag and If-Match."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api.request import Ask, Asked, Body, Metadata, answer
from nbdsvc.metadata import Metadata as ResourceMetadata
from nbdsvc.metadata import etag

_TAGS_SINCE = (3, 15)


class MetadataBody(Body):
    metadata: Metadata


class MetaBody(Body):
    meta: Annotated[Metadata, Field(min_length=1, max_length=1)]


def add_routes(router: APIRouter, noun: str, pairs: ResourceMetadata) -> None:
    """Add the six routes to the noun's router."""
    everything, one = f"/{noun}/{{id}}/metadata", f"/{noun}/{{id}}/metadata/{{key}}"

    def get(asked: Asked, id: str) -> dict[str, str]:
        return pairs.read(asked.app, asked.context, id)

    def edit(asked: Asked, id: str, changes: Mapping[str, str | None], *, replace: bool = False) -> dict[str, str]:
        expected = _if_match(asked)
        return pairs.edit(asked.app, asked.context, id, changes, replace=replace, expected=expected)

    def item(asked: Asked, id: str, key: str) -> str:
        found = get(asked, id)
        if key not in found:
            raise errors.NotFound(resource="Metadata item", id=key)
        return found[key]

    @router.get(everything)
    def metadata(asked: Ask, id: str) -> JSONResponse:
        """All pairs, from 3.15 with an ETag."""
        return _tagged(asked, get(asked, id))

    @router.post(everything)
    def add(asked: Ask, id: str, body: MetadataBody) -> JSONResponse:
        """Set these pairs, keep the others; from 3.15 with If-Match against lost updates."""
        return _tagged(asked, edit(asked, id, body.metadata))

    @router.put(everything)
    def replace(asked: Ask, id: str, body: MetadataBody) -> JSONResponse:
        """Set these pairs, remove the others; from 3.15 with If-Match."""
        return _tagged(asked, edit(asked, id, body.metadata, replace=True))

    @router.get(one)
    def show(asked: Ask, id: str, key: str) -> JSONResponse:
        """One pair."""
        return answer({"meta": {key: item(asked, id, key)}})

    @router.put(one)
    def set_one(asked: Ask, id: str, key: str, body: MetaBody) -> JSONResponse:
        """Set one pair; from 3.15 with If-Match."""
        if key not in body.meta:
            raise errors.InvalidInput(field="meta", value=key, reason="the body must have the key that the path names")
        edit(asked, id, body.meta)
        return answer({"meta": body.meta})

    @router.delete(one)
    def delete(asked: Ask, id: str, key: str) -> Response:
        """Remove one pair; from 3.15 with If-Match."""
        item(asked, id, key)
        edit(asked, id, {key: None})
        return Response(status_code=200)


def _tagged(asked: Asked, content: dict[str, str]) -> JSONResponse:
    made = answer({"metadata": content})
    if asked.version >= _TAGS_SINCE:
        made.headers["ETag"] = f'"{etag(content)}"'
    return made


def _if_match(asked: Asked) -> list[str] | None:
    """The tags of If-Match (RFC 9110, 13.1.1), without their quotes; None where it does not count."""
    header = asked.request.headers.get("if-match")
    if header is None or asked.version < _TAGS_SINCE:
        return None
    return [tag.strip().strip('"') for tag in header.split(",")]
