"""RequestError: the caller's fault. Change the request, then send it again."""

from typing import Any

from nbdsvc.errors.base import Error


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
