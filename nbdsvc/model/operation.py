"""An operation as data: one durable unit of work, with its present step, its locks and its result."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbdsvc.model import clock

PENDING, RUNNING, UNDOING = "pending", "running", "undoing"
SUCCEEDED, FAILED, CANCELLED, ROLLBACK_FAILED = "succeeded", "failed", "cancelled", "rollback_failed"
UNFINISHED = frozenset({PENDING, RUNNING, UNDOING})
FINISHED = frozenset({SUCCEEDED, FAILED, CANCELLED, ROLLBACK_FAILED})

# The key, among the results of the steps, of the operation that continues the work of a failed one.
CONTINUED_BY = "continued_by"
# The key of a mark, among them: an operation of a lost host, whose notes of how far its copy is are lost.
TAKEN_OVER = "taken_over"


@dataclass(frozen=True, order=True)
class Lock:
    """A named lock: held by any number of operations if `shared`, else by one."""

    name: str
    shared: bool = False

    def to_json(self) -> list[Any]:
        return [self.name, self.shared]


@dataclass(frozen=True)
class Place:
    """The place where a step runs. backend: empty for the only backend of the host."""

    host: str
    backend: str


@dataclass(frozen=True)
class Operation:
    """One row of the journal.

    cursor: index of the step that was begun last. With state `running`, this step's intent is recorded and its result
    is not; with state `undoing`, its undo was begun. Beyond the last step, or -1 with `undoing`, only the end is left.
    results: step name -> the result of its `do`. locks: [[name, shared], ...]. host, backend: the own place, where the
    operation begins and ends; backend: empty for the only backend of the host. step_host, step_backend: the present
    place, whose host alone writes the row. taken_up: this host has begun. rate: bytes a second that the operation may
    copy, 0: no limit. deadline: when the operation is ended and undone. progress_*: bytes done, in all, and written as
    data, and the present rate in bytes a second. error: errors.facts_of(...). skipped: the rows whose final status the
    end did not set, see store/transitions.py.
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
        """The place of steps that name no other place, and of the end."""
        return Place(self.host, self.backend)

    @property
    def place(self) -> Place:
        """The place where the operation is now."""
        return Place(self.step_host, self.step_backend)

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def continued_by(self) -> str | None:
        """The id of the operation that tries at another place what this one failed to do."""
        return self.results.get(CONTINUED_BY)

    @property
    def tried(self) -> list[dict[str, Any]]:
        """The earlier attempts at other places: pool, and error (errors.facts_of)."""
        return list(self.args.get("tried", []))

    def lock_set(self) -> list[Lock]:
        """The locks in the order in which every operation takes them, so that no two operations can deadlock."""
        return sorted(Lock(name, shared) for name, shared in self.locks)
