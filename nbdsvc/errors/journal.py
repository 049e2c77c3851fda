"""Errors as JSON, which the journal keeps, and back."""

from typing import Any

from nbdsvc.errors.base import Error
from nbdsvc.errors.service import InternalError


def _leaves(root: type[Error]) -> dict[str, type[Error]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _leaves(child)
    return found


def facts_of(error: BaseException) -> dict[str, Any]:
    """The error as JSON: {"kind", "message", "facts"}. A foreign exception becomes an InternalError."""
    if not isinstance(error, Error):
        error = InternalError(reason=f"{type(error).__name__}: {error}")
    return {"kind": type(error).__name__, "message": str(error), "facts": error.facts}


def from_facts(stored: dict[str, Any]) -> Error:
    """The error that `facts_of` described; a kind that no longer exists becomes an InternalError."""
    kind = _leaves(Error).get(stored["kind"])
    return kind(**stored["facts"]) if kind else InternalError(reason=stored["message"])
