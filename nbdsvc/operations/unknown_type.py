"""The type and arguments of a row of the journal, also of an unknown type (after a downgrade)."""

from collections.abc import Mapping
from typing import Any

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import OperationType, Step, args_from_json


def typed(types: Mapping[str, OperationType[Any]], operation: Operation) -> tuple[OperationType[Any], Any]:
    """The operation's type and arguments; for an unknown type or argument, a type whose steps fail."""
    known = types.get(operation.kind)
    if known is None:
        return _refused(operation, f"no operation is called {operation.kind}"), operation.args
    try:
        return known, args_from_json(known.args, operation.args)
    except errors.InternalError as error:
        return _refused(operation, str(error)), operation.args


def _refused(operation: Operation, reason: str) -> OperationType[Any]:
    """A type whose operation fails at once and leaves its rows unchanged.

    It has a step for each step that was begun, whose undo also fails: nothing is undone, and the operation reports
    that. So an operation whose cursor is far on, or that comes from a host of another version, does not count as done.
    """

    def refuse(_run: object) -> None:
        raise errors.InternalError(reason=reason)

    begun = (Step[Any]("refuse", refuse, refuse),) * (operation.cursor + 1)
    # Its end changes no row, because the rows of an unknown type are unknown.
    return OperationType(operation.kind, dict, (*begun, Step("refuse", refuse)), modifies=False)
