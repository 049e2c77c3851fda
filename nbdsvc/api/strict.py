"""What every route behind /v3 begins with: its rule, and its JSON body.

Bodies are refused where a database or a reply could not hold them.

JSON text may have NaN, numbers beyond a double's range, halves of surrogate pairs and NUL: Python reads all of them, and
each fails later, where the text is stored or sent back.
"""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from nbdsvc import errors
from nbdsvc.model.values import check_text
from nbdsvc.policy.operations import rule_of

# The content type of Cinder and of most clients; other clients may send a type that ends in +json.
_JSON, _SUFFIX = "application/json", "+json"


def router(tag: str) -> APIRouter:
    """A router whose routes are permitted, and read their bodies, here. A route without a rule is a LookupError."""
    return APIRouter(tags=[tag], route_class=_Route)


class _Request(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_strict"):
            self._strict = parse(await self.body())
        return self._strict


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        has_body = self.body_field is not None
        path = self.path.removeprefix("/v3")
        rules = [rule for method in self.methods or () if (rule := rule_of(method, path))]

        async def read(request: Request) -> Response:
            for rule in rules:
                # The one resource that is named by its project and not by an id.
                request.state.permissions.enforce(rule, request.path_params.get("project"))
            if has_body:
                _check_type(request.scope)
                request = _Request(request.scope, request.receive)
                await request.json()
            return await handle(request)

        return read


def parse(content: bytes) -> Any:
    """The JSON value; no text at all is null. Raises InvalidInput for the field body."""
    if not content:
        return None
    try:
        text = content.decode()
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError:
        _refuse("it is not UTF-8")
    except json.JSONDecodeError as error:
        _refuse(f"it is not JSON: {error.msg} at character {error.pos}")
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError:  # int() of more digits than Python reads
        _refuse("a number has too many digits")
    if "\\u" in text:  # both can be written only by this escape in JSON
        check_text(found)
    return found


def _check_type(scope: Scope) -> None:
    """Raise HTTPException 415 for another type than JSON; set the type where it is missing, or FastAPI reads no body."""
    given = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    if not given:
        others = [header for header in scope["headers"] if header[0] != b"content-type"]
        scope["headers"] = [*others, (b"content-type", _JSON.encode())]
    elif given != _JSON and not given.endswith(_SUFFIX):
        raise HTTPException(415, f"The body must be {_JSON}.")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse("a number is too large")


def _refuse(reason: str) -> NoReturn:
    """Raise InvalidInput; the parser calls it with NaN, Infinity and -Infinity."""
    known = {"NaN", "Infinity", "-Infinity"}
    raise errors.InvalidInput(
        field="body", value=None, reason=f"{reason} is no JSON number" if reason in known else reason
    )
