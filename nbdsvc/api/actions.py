"""Bodies of the form {"os-extend": {...}}: one key that names the action, its model and its function in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from nbdsvc import errors
from nbdsvc.api.microversions import Version
from nbdsvc.api.request import ApiRequest
from nbdsvc.api.waiting import ready, wait_for_result
from nbdsvc.app import App, Waiting
from nbdsvc.model.context import Context

# Faults that one error message names.
_MOST_FAULTS = 20


@dataclass(frozen=True)
class Action:
    """One action of a resource."""

    # Called with the request, the resource's id and the instance of `model`. No thread is held while it waits.
    run: Callable[[ApiRequest, str, Any], Response | Waiting[Any] | None]
    # The model of the action's value; None: the value is ignored.
    model: type[BaseModel] | None = None
    # The status of the reply, which has no body, where `run` returns None.
    ok: int = 202
    # The microversion that introduced the action.
    since: Version = (3, 0)


def plain(use_case: Callable[[App, Context, str], None]) -> Callable[[ApiRequest, str, Any], None]:
    """The `run` of an action that needs nothing but the id."""

    def run(request: ApiRequest, id: str, _arguments: Any) -> None:
        use_case(request.app, request.context, id)

    return run


async def perform(actions: Mapping[str, Action], request: ApiRequest, id: str, body: Any) -> Response:
    """Run the one action that the body names. Raises InvalidInput, Forbidden, NotFound, and what the action raises."""
    if not isinstance(body, dict) or len(body) != 1:
        raise errors.InvalidInput(field="body", value=None, reason="must be an object with exactly one action")
    name, value = next(iter(body.items()))
    action = actions.get(name)
    if action is None:
        raise errors.InvalidInput(field="body", value=str(name)[:80], reason=f"there is no action {str(name)[:80]!r}")
    request.require(action.since)
    request.enforce_action(name)
    arguments = _validate(name, action, value)
    answered = await wait_for_result(request.app, lambda: _begin(action, request, id, arguments))
    return answered or Response(status_code=action.ok)


def _begin(action: Action, request: ApiRequest, id: str, arguments: Any) -> Waiting[Response | None]:
    found = action.run(request, id, arguments)
    return found if isinstance(found, Waiting) else ready(found)


def _validate(name: str, action: Action, value: Any) -> Any:
    if action.model is None:  # clients send null, {}, true or the id: Cinder takes any value
        return None
    try:
        return action.model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise invalid(error.errors(), name) from None


def invalid(found: Any, prefix: str = "") -> errors.InvalidInput:
    """One InvalidInput for all faults of a body; its message names the field of each."""
    faults = [
        (".".join([prefix, *(str(part) for part in f["loc"] if part != "body")]).strip("."), f["msg"]) for f in found
    ]
    text = "; ".join(f"{field}: {reason}" for field, reason in faults[1:_MOST_FAULTS])
    field, reason = faults[0] if faults else ("body", "is invalid")
    value = _shown(found[0].get("input")) if faults else None
    return errors.InvalidInput(field=field[:255] or "body", value=value, reason=reason + (f"; {text}" if text else ""))


def _shown(value: Any) -> str | None:
    """The value, cut, for an error message; objects and lists are left out, because they may hold secrets."""
    return str(value)[:80] if isinstance(value, str | int | float) else None


def schema(actions: Mapping[str, Action]) -> dict[str, Any]:
    """The request body in the OpenAPI document: one of the actions."""
    alternatives = []
    for name, action in actions.items():
        value = action.model.model_json_schema() if action.model else {}
        value.pop("$defs", None)
        alternatives.append(
            {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}
        )
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"oneOf": alternatives}}}}}
