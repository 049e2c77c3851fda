"""Operation types whose arguments are a dict, for tests of the engine: their ends read them from the operation."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.operations import operation_type
from nbdsvc.operations.operation_type import ACCESS, COPY, SHORT, OperationType, always, never

__all__ = ["ACCESS", "COPY", "SHORT", "Run", "Step", "always", "never", "untyped"]

Run = operation_type.Run[Any]
Step = operation_type.Step[Any]


def untyped(
    name: str,
    steps: tuple[Step, ...],
    succeed: Callable[[sa.Connection, Operation], None],
    fail: Callable[[sa.Connection, Operation, errors.Error], None],
    lane: str = SHORT,
    first: Callable[[Run], Any] | None = None,
) -> OperationType[Any]:
    """An operation type whose ends read the arguments from the operation, and whose locks its caller names."""
    return OperationType(
        name,
        dict,
        steps,
        lambda _args: (),
        lambda conn, operation, _args: succeed(conn, operation),
        lambda conn, operation, _args, error: fail(conn, operation, error),
        lane=lane,
        first=first,
        modifies=False,
    )
