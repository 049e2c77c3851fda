"""An operation as data: one durable unit of work, its place in its steps, its locks and how it ended."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbdsvc.model import clock

PENDING, RUNNING, UNDOING = "pending", "running", "undoing"
SUCCEEDED, FAILED, CANCELLED, ROLLBACK_FAILED = "succeeded", "failed", "cancelled", "rollback_failed"
UNFINISHED = frozenset({PENDING, RUNNING, UNDOING})
FINISHED = frozenset({SUCCEEDED, FAILED, CANCELLED, ROLLBACK_FAILED})

# Beside the results of the steps: the operation that goes on with the work of one that failed.
CONTINUED_BY = "continued_by"


@dataclass(frozen=True, order=True)
class Lock:
    """A named lock; shared by any number of readers, or held by one."""

    name: str
    shared: bool = False

    def to_json(self) -> list[Any]:
        return [self.name, self.shared]


@dataclass(frozen=True)
class Place:
    """Where a step runs. backend: empty for the host's only one."""

    host: str
    backend: str


@dataclass(frozen=True)
class Operation:
    """One row of the journal.

    cursor: index of the step that was begun last; with state `running` its intent is recorded and its result is not,
    with state `undoing` its undo was begun; beyond the last step, or with `undoing` -1, only the end is left.
    results: step name -> what its do returned. locks: [[name, shared], ...].
    host, backend: its own, where it begins and ends; backend: empty for the host's only one.
    step_host, step_backend: where it is now; that host alone writes it. taken_up: that host has begun with it.
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
    step_host: str = ""
    step_backend: str = ""
    taken_up: bool = False

    def __post_init__(self) -> None:
        if not self.step_host:
            object.__setattr__(self, "step_host", self.host)
            object.__setattr__(self, "step_backend", self.backend)

    @property
    def own_place(self) -> Place:
        """Where its steps run that name no other place, and where it ends."""
        return Place(self.host, self.backend)

    @property
    def place(self) -> Place:
        """Where it is now."""
        return Place(self.step_host, self.step_backend)

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def continued_by(self) -> str | None:
        """The id of the operation that goes on elsewhere with what this one failed at."""
        return self.results.get(CONTINUED_BY)

    @property
    def tried(self) -> list[dict[str, Any]]:
        """The attempts elsewhere before this one: pool, and error (errors.facts_of)."""
        return list(self.args.get("tried", []))

    def lock_set(self) -> list[Lock]:
        """The locks of the operation in the order in which every operation takes them, so that no two can deadlock."""
        return sorted(Lock(name, shared) for name, shared in self.locks)
