"""What can go wrong, as one tree that answers: whose fault is it, and what may the caller do next?

    Error
    ├── RequestError          the caller's: change the request, then ask again
    │   ├── InvalidInput          a field has a bad value
    │   │   └── InvalidReplicationTarget  no target of the backend has this name
    │   ├── NotFound              no such thing, or not visible to this project
    │   ├── InvalidState          the thing is in a status that forbids this now
    │   ├── Conflict              someone else changed it first, or a name is taken
    │   ├── PreconditionFailed    what the request builds on has changed since it was read
    │   ├── QuotaExceeded         the project's limit would be passed
    │   ├── Frozen                an administrator has frozen the backend: nothing on it is changed
    │   ├── Unsupported           this backend, transport or format cannot do that
    │   ├── Unauthorized          no token, or an unknown one
    │   └── Forbidden             known, but not allowed
    ├── BackendError          the storage's or the host's: repair it, then try again
    │   ├── CommandFailed         an external program said no
    │   ├── OutOfSpace            the pool or its file system is full
    │   │   └── NoRoom                no pool that would do has room for a new volume
    │   ├── DeviceBusy            someone still holds the device
    │   ├── ExportFailed          an export could not be made, changed or removed
    │   ├── ReplicationError      a volume's replica does not allow or could not do this
    │   └── BackendUnavailable    the backend is not set up or not reachable
    │       ├── UnableToFailOver      nor at the site that it was to be failed over to
    │       └── NoValidBackend        no pool can take a new volume, each for a reason of its own
    ├── DataError             bytes are wrong or lost: never retried in silence
    │   ├── ReadFailed
    │   ├── WriteFailed
    │   ├── ChecksumMismatch
    │   └── BadImage              an image that is malformed, hostile or not what it claims to be
    ├── OperationError        how an operation ended, when it did not succeed
    │   ├── Cancelled
    │   ├── TimedOut
    │   ├── Interrupted
    │   └── RollbackFailed        the undo failed too; both reasons are kept
    ├── ConfigError           the administrator's: a setting is wrong
    └── InternalError         ours: a bug, please report it

Facts are attributes, messages are templates; an error is written to the journal by `facts_of` and read back by
`from_facts`. HTTP statuses are not here (api/faults.py), and neither are errnos (datapath/native.py).
"""

from typing import Any, ClassVar


class Error(Exception):
    """Base of all errors of nbdsvc. Make only its leaves, with every fact that the template names.

    Facts must be JSON values, for they are kept in the journal, and never secrets.
    """

    template: ClassVar[str] = "{reason}"
    # Where facts are the storage host's (commands, paths, names of pools and hosts): the message for users, without these.
    outside: ClassVar[str] = ""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)
        super().__init__(self.template.format(**facts))

    def message_for_user(self, *, everything: bool) -> str:
        """The message: with every fact for an administrator, else without those of the storage host."""
        return str(self) if everything or not self.outside else self.outside.format(**self.facts)


class RequestError(Error):
    """The caller's fault."""


class InvalidInput(RequestError):
    """A field of the request has a bad value. Facts: field, value (shortened by the caller), reason."""

    template = "Invalid value for {field}: {reason}"
    field: str
    value: Any
    reason: str


class InvalidReplicationTarget(InvalidInput):
    """No target of the backend has this name. Facts: as of InvalidInput."""


class NotFound(RequestError):
    """Facts: resource (the noun: Volume, Snapshot, ...), id."""

    template = "{resource} {id} could not be found."
    resource: str
    id: str


class InvalidState(RequestError):
    """The status forbids this now. Facts: resource, id, action, status (as found), allowed (list of statuses)."""

    template = "{resource} {id} cannot {action}: its status is {status}; allowed from: {allowed}."
    resource: str
    id: str
    action: str
    status: str
    allowed: list[str]

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)
        shown = {**facts, "allowed": ", ".join(facts["allowed"]) or "no status"}
        Exception.__init__(self, self.template.format(**shown))


class Conflict(RequestError):
    """Facts: reason."""

    reason: str


class PreconditionFailed(RequestError):
    """The resource has changed since the client read it. Facts: resource, id."""

    template = "{resource} {id} was changed by another request since you read it: read it again."
    resource: str
    id: str


class QuotaExceeded(RequestError):
    """Facts: resource (volumes, gigabytes, snapshots, ...), limit, used, requested."""

    template = "Quota exceeded for {resource}: requested {requested}, used {used} of {limit}."
    resource: str
    limit: int
    used: int
    requested: int


class Frozen(RequestError):
    """The backend is frozen: what is on it is used, and not changed. Facts: backend."""

    template = "Backend {backend} is frozen: nothing on it is made, changed or removed until an administrator thaws it."
    outside = "The storage is frozen: nothing on it is made, changed or removed until an administrator thaws it."
    backend: str


class Unsupported(RequestError):
    """Facts: reason."""

    reason: str


class Unauthorized(RequestError):
    """Facts: reason."""

    reason: str


class Forbidden(RequestError):
    """Facts: reason."""

    reason: str


class BackendError(Error):
    """The storage's or the host's fault."""

    outside = "The storage could not do this; its administrator finds the reason in the operation and in the log."


class CommandFailed(BackendError):
    """An external program failed. Facts: argv (list), rc, stderr (its end)."""

    template = "{argv} failed with exit status {rc}: {stderr}"
    argv: list[str]
    rc: int
    stderr: str


class OutOfSpace(BackendError):
    """Facts: pool, requested (bytes or None), free (bytes or None), reason."""

    template = "Pool {pool} has no room: {reason}"
    outside = "The storage has no room for this."
    pool: str
    reason: str


class NoRoom(OutOfSpace):
    """Facts: as of OutOfSpace; pool is the one with the most room, reason names each pool's."""

    template = "No valid backend: {reason}"
    # How much is free, and where, is no business of projects.
    outside = "No valid backend was found."


class DeviceBusy(BackendError):
    """Facts: device, reason."""

    template = "{device} is busy: {reason}"
    outside = "The device is busy: it is still in use."
    device: str
    reason: str


class ExportFailed(BackendError):
    """Facts: export (its id), reason."""

    template = "Export {export} failed: {reason}"
    outside = "Export {export} failed."
    export: str
    reason: str


class ReplicationError(BackendError):
    """A volume's replica does not allow this, or could not do it. Facts: volume (its id), reason."""

    template = "Volume {volume} replication error: {reason}"


class BackendUnavailable(BackendError):
    """Facts: backend, reason."""

    template = "Backend {backend} is unavailable: {reason}"
    outside = "The storage is not available now."
    backend: str
    reason: str


class UnableToFailOver(BackendUnavailable):
    """What was there before may be usable or not. Facts: as of BackendUnavailable."""


class NoValidBackend(BackendUnavailable):
    """Facts: as of BackendUnavailable; reason names each pool's."""

    template = "No valid backend: {reason}"
    outside = "No valid backend was found."


class DataError(Error):
    """Bytes are wrong, lost or not to be trusted."""


class ReadFailed(DataError):
    """Facts: source, offset (bytes), reason."""

    template = "Reading {source} failed at byte {offset}: {reason}"
    source: str
    offset: int
    reason: str


class WriteFailed(DataError):
    """Facts: destination, offset (bytes), reason."""

    template = "Writing {destination} failed at byte {offset}: {reason}"
    outside = "Writing failed at byte {offset}."
    destination: str
    offset: int
    reason: str


class ChecksumMismatch(DataError):
    """Facts: source, expected, actual."""

    template = "{source} has checksum {actual}, expected {expected}."
    source: str
    expected: str
    actual: str


class BadImage(DataError):
    """An image that nbdsvc refuses. Facts: image, reason."""

    template = "Image {image} is refused: {reason}"
    image: str
    reason: str


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


class ConfigError(Error):
    """A setting is wrong. Facts: setting, reason."""

    template = "Setting {setting}: {reason}"
    outside = "The service is not set up for this."
    setting: str
    reason: str


class InternalError(Error):
    """A bug of nbdsvc. Facts: reason."""

    template = "Internal error: {reason}"
    outside = "An internal error happened; it was logged."
    reason: str


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
