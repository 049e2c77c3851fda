"""Bodies of the form {"os-extend": {...}}: one key that names the action, its model and its function in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from nbdsvc import errors
from nbdsvc.api.microversions import Version
from nbdsvc.api.request import Asked
from nbdsvc.api.waiting import at_once, settled
from nbdsvc.app import App, Waiting
from nbdsvc.model.context import Context

# More faults than these in one body are no help.
_MOST_FAULTS = 20


@dataclass(frozen=True)
class Action:
    """`model` None: the value says nothing, whatever it is. `run` gets the request, the id and the model's instance.

    Where `run` answers None, the answer is the status `ok` with no body. What it waits for, holds no thread.
    """

    run: Callable[[Asked, str, Any], Response | Waiting[Any] | None]
    model: type[BaseModel] | None = None
    ok: int = 202
    since: Version = (3, 0)
    admin: bool = False


def plain(use_case: Callable[[App, Context, str], None]) -> Callable[[Asked, str, Any], None]:
    """An action that needs nothing but the id."""

    def run(asked: Asked, id: str, _wish: Any) -> None:
        use_case(asked.app, asked.context, id)

    return run


async def perform(actions: Mapping[str, Action], asked: Asked, id: str, body: Any) -> Response:
    """Find the one action that the body names, check its value, run it."""
    if not isinstance(body, dict) or len(body) != 1:
        raise errors.InvalidInput(field="body", value=None, reason="must be an object with exactly one action")
    name, value = next(iter(body.items()))
    action = actions.get(name)
    if action is None:
        raise errors.InvalidInput(field="body", value=str(name)[:80], reason=f"there is no action {str(name)[:80]!r}")
    asked.require(action.since)
    if action.admin:
        asked.require_admin()
    wish = _validate(name, action, value)
    answered = await settled(asked.app, lambda: _begin(action, asked, id, wish))
    return answered or Response(status_code=action.ok)


def _begin(action: Action, asked: Asked, id: str, wish: Any) -> Waiting[Response | None]:
    found = action.run(asked, id, wish)
    return found if isinstance(found, Waiting) else at_once(found)


def _validate(name: str, action: Action, value: Any) -> Any:
    if action.model is None:  # clients send null, {}, true or the id: the reference takes any value
        return None
    try:
        return action.model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise invalid(error.errors(), name) from None


def invalid(found: Any, prefix: str = "") -> errors.InvalidInput:
    """All faults of a body at once, each with its field."""
    faults = [
        (".".join([prefix, *(str(part) for part in f["loc"] if part != "body")]).strip("."), f["msg"]) for f in found
    ]
    text = "; ".join(f"{field}: {reason}" for field, reason in faults[1:_MOST_FAULTS])
    field, reason = faults[0] if faults else ("body", "is invalid")
    value = _shown(found[0].get("input")) if faults else None
    return errors.InvalidInput(field=field[:255] or "body", value=value, reason=reason + (f"; {text}" if text else ""))


def _shown(value: Any) -> str | None:
    """A value that is short enough to be said again; objects and lists are not, for they may hold secrets."""
    return str(value)[:80] if isinstance(value, str | int | float) else None


def schema(actions: Mapping[str, Action]) -> dict[str, Any]:
    """The request body of the OpenAPI document: one of the actions."""
    alternatives = []
    for name, action in actions.items():
        value = action.model.model_json_schema() if action.model else {}
        value.pop("$defs", None)
        alternatives.append(
            {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}
        )
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"oneOf": alternatives}}}}}
