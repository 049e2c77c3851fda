"""OperationError: how an operation ended, when it did not succeed."""

from nbdsvc.errors.base import Error


class OperationError(Error):
    """An operation ended without success."""


class Cancelled(OperationError):
    """Facts: operation."""

    template = "Operation {operation} was cancelled."
    operation: str


class TimedOut(OperationError):
    """Facts: operation, seconds."""

    template = "Operation {operation} was not finished within {seconds} s."
    operation: str
    seconds: float


class Interrupted(OperationError):
    """The service stopped; the operation goes on at its next start. Facts: operation."""

    template = "Operation {operation} was interrupted by a stop of the service and goes on at its next start."
    operation: str


class RollbackFailed(OperationError):
    """The undo failed too. Facts: operation, step, cause (message), undo_error (message)."""

    template = "Operation {operation} failed ({cause}), and undoing step {step} failed too: {undo_error}"
    outside = "Operation {operation} failed at step {step}, and undoing it failed too: an administrator has to look."
    operation: str
    step: str
    cause: str
    undo_error: str
