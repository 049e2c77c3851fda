"""What every route asks of its request, and how it answers."""

from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from nbdsvc import errors
from nbdsvc.api.microversions import Version
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.model.values import MAX_INTEGER, boolean

# Printable: control characters in a name have broken more than one terminal and log.
Text = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
LongText = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Metadata = dict[Key, Text]


def _no_float(value: Any) -> Any:
    """JSON's true and 1.0 are no numbers of GiB, as in the reference; a string of digits is."""
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number")
    return value


Gib = Annotated[int, Field(ge=1, le=MAX_INTEGER), BeforeValidator(_no_float)]


class Body(BaseModel):
    """A request's JSON: an unknown field is an error that names it."""

    model_config = ConfigDict(extra="forbid")


class Asked:
    """The request, as routes use it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.app = cast("App", request.app.state.app)
        self.context = cast("Context", request.state.context)
        self.version = cast("Version", request.state.version)
        self.query = request.query_params

    def require(self, version: Version) -> None:
        """404 below the microversion that brought the resource, as the field answers."""
        if self.version < version:
            raise errors.NotFound(resource="Resource", id=self.request.url.path)

    def require_admin(self) -> None:
        if not self.context.is_admin:
            raise errors.Forbidden(reason="Policy doesn't allow this to be performed by anybody but an administrator.")

    def flag(self, name: str) -> bool:
        """A boolean of the query string; InvalidInput for what is neither."""
        return boolean(name, self.query.get(name, "false"))

    def link(self, *parts: str) -> str:
        base = str(self.request.base_url).rstrip("/")
        return "/".join([base, *parts])


def ask(request: Request) -> Asked:
    return Asked(request)


Ask = Annotated[Asked, Depends(ask)]


def answer(content: Any, status: int = 200) -> JSONResponse:
    """Straight to JSON: a response model would cost six times as much on a long list."""
    return JSONResponse(content, status)
