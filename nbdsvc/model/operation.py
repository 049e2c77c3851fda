"""An operation as data: one durable unit of work, its place in its steps, its locks and how it ended."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbdsvc.model import clock

PENDING, RUNNING, UNDOING = "pending", "running", "undoing"
SUCCEEDED, FAILED, CANCELLED, ROLLBACK_FAILED = "succeeded", "failed", "cancelled", "rollback_failed"
UNFINISHED = frozenset({PENDING, RUNNING, UNDOING})
FINISHED = frozenset({SUCCEEDED, FAILED, CANCELLED, ROLLBACK_FAILED})


@dataclass(frozen=True, order=True)
class Lock:
    """A named lock; shared by any number of readers, or held by one."""

    name: str
    shared: bool = False

    def to_json(self) -> list[Any]:
        return [self.name, self.shared]


@dataclass(frozen=True)
class Operation:
    """One row of the journal.

    cursor: index of the step that was begun last; with state `running` its intent is recorded and its result is not,
    with state `undoing` its undo was begun. results: step name -> what its do returned. locks: [[name, shared], ...].
    backend: name of the host's backend that it works on; empty for the host's only one.
    rate: bytes a second that it may copy, 0 for no limit of its own.
    deadline: when it is given up and undone. progress_*: bytes of which so many are done,
    of which so many had to be written, and the rate of late in bytes a second. error: errors.facts_of(...).
    skipped: the rows whose final status the end did not set, see store/transitions.py.
    """

    id: str
    kind: str
    host: str
    project_id: str
    resource_type: str
    resource_id: str
    args: dict[str, Any]
    locks: list[list[Any]]
    backend: str = ""
    request_id: str = ""
    user_id: str = ""
    state: str = PENDING
    cursor: int = -1
    attempts: int = 0
    results: dict[str, Any] = field(default_factory=dict)
    cancel_requested: bool = False
    rate: int = 0
    deadline: datetime | None = None
    progress_done: int = 0
    progress_total: int = 0
    progress_text: str = ""
    progress_data: int = 0
    progress_rate: int = 0
    error: dict[str, Any] | None = None
    skipped: list[dict[str, str]] | None = None
    created_at: datetime = field(default_factory=clock.now)
    started_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None
    sequence: int | None = None

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    def lock_set(self) -> list[Lock]:
        """The locks of the operation in the order in which every operation takes them, so that no two can deadlock."""
        return sorted(Lock(name, shared) for name, shared in self.locks)
