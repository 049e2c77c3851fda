"""The type and the arguments of a row of the journal, also of one that this program does not know (after a downgrade)."""

from collections.abc import Mapping
from typing import Any

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import OperationType, Step, args_from_json


def typed(types: Mapping[str, OperationType[Any]], operation: Operation) -> tuple[OperationType[Any], Any]:
    """Its type and its arguments; a type that refuses where the program does not know it, or not its arguments."""
    known = types.get(operation.kind)
    if known is None:
        return _refused(operation, f"no operation is called {operation.kind}"), operation.args
    try:
        return known, args_from_json(known.args, operation.args)
    except errors.InternalError as error:
        return _refused(operation, str(error)), operation.args


def _refused(operation: Operation, reason: str) -> OperationType[Any]:
    """A type whose operation fails at once: its rows are left as they are.

    It has a step for each that was begun, whose undo fails as well: nothing is taken back, and the operation says so.
    One that is far on, or comes from a host with another version, does not pass for one that is done.
    """

    def refuse(_run: object) -> None:
        raise errors.InternalError(reason=reason)

    begun = (Step[Any]("refuse", refuse, refuse),) * (operation.cursor + 1)
    # Its ends change no row: nothing is known of them.
    return OperationType(operation.kind, dict, (*begun, Step("refuse", refuse)), modifies=False)
