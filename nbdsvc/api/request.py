"""Reads requests for routes: query, body, context; and makes replies."""

from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from nbdsvc import errors
from nbdsvc.api.microversions import Version
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.model.values import MAX_INTEGER, boolean
from nbdsvc.policy.operations import rule_of_action
from nbdsvc.policy.policy import Permissions

# Printable characters only: control characters in a name break terminals and logs.
Text = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
LongText = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Metadata = dict[Key, Text]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must have printable characters only")
    return value


# An image's index has its name, and what is not printable in an index is not read.
ImageName = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_printable)]


def _no_float(value: Any) -> Any:
    """JSON's true and 1.0 are not numbers of GiB, as in Cinder; a string of digits is."""
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number")
    return value


Gib = Annotated[int, Field(ge=1, le=MAX_INTEGER), BeforeValidator(_no_float)]


class Body(BaseModel):
    """A request's JSON: an unknown field is an error that names it."""

    # The model of a body is built once, as a part of the route that reads it, and not separately.
    model_config = ConfigDict(extra="forbid", defer_build=True)


class ApiRequest:
    """A request behind the middleware: its author, its microversion, its query string."""

    def __init__(self, http: Request) -> None:
        self.http = http
        self.app = cast("App", http.app.state.app)
        self.context = cast("Context", http.state.context)
        self.permissions = cast("Permissions", http.state.permissions)
        self.version = cast("Version", http.state.version)
        self.query = http.query_params

    def require(self, version: Version) -> None:
        """Raise NotFound below the microversion that brought the resource, as Cinder does."""
        if self.version < version:
            raise errors.NotFound(resource="Resource", id=self.http.url.path)

    def enforce_action(self, name: str) -> None:
        """Raise Forbidden where the rule of this action of the route does not let the author request it."""
        path = self.http.scope["route"].path.removeprefix("/v3")
        self.permissions.enforce(rule_of_action(path, name))

    def flag(self, name: str) -> bool:
        """A boolean of the query string, false by default. Raises InvalidInput."""
        return boolean(name, self.query.get(name, "false"))

    def link(self, *parts: str) -> str:
        """The URL of a path below the address that the client used."""
        base = str(self.http.base_url).rstrip("/")
        return "/".join([base, *parts])


def _api_request(request: Request) -> ApiRequest:
    return ApiRequest(request)


# The type of a route's parameter, which FastAPI fills in.
CurrentRequest = Annotated[ApiRequest, Depends(_api_request)]


def answer(content: Any, status: int = 200) -> JSONResponse:
    """Straight to JSON: a response model would cost six times as much on a long list."""
    return JSONResponse(content, status)
