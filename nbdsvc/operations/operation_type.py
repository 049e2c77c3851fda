"""Operation types: typed arguments, the locks that they need, steps with do and undo, and their ends.

A step is run again when the process died before its result was recorded. So each step checks before it acts: an object
that exists already with this operation's id is success; an object with another id is not touched; an undo removes only
objects with this operation's id. Results are JSON, and are read again after a restart.
"""

import dataclasses
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.operation import Lock, Operation

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

# Metadata of an argument that is stored only when it is true: a host of an older version refuses an unknown name.
IF_SET = {"if_set": True}
# Lanes of the engine: for operations that end access, for short ones, and for those that copy.
ACCESS, SHORT, COPY = "access", "short", "copy"


class Run(Protocol[A_co]):
    """A running operation, for its steps."""

    operation: Operation
    results: dict[str, Any]
    """The results of the steps before, by the step's name."""
    environment: Any
    """The environment of the engine that runs this step: the Host."""
    rate: int
    """Bytes a second that the operation may copy, 0: no limit; may change while it runs."""

    @property
    def args(self) -> A_co:
        """The arguments of the operation."""

    @property
    def id(self) -> str:
        """The operation's id: the owner mark of every object that it makes."""

    def make_home(self, conn: sa.Connection) -> None:
        """Make the present place the operation's own place, where it ends; in the caller's transaction."""

    def raise_if_stopped(self) -> None:
        """Raise Cancelled, TimedOut or Interrupted when the operation has to end. Every loop of a step calls this."""

    def should_stop(self) -> bool:
        """Whether raise_if_stopped would raise an error; for callbacks from C."""

    def progress(self, done: int, total: int, text: str = "", data: int = 0) -> None:
        """Report `done` of `total` bytes; `data`: bytes written as data. Cheap: stored at most twice a second."""


def never(_run: Run[Any]) -> bool:
    """For Step.copies: the step is short."""
    return False


def always(_run: Run[Any]) -> bool:
    """For Step.copies: the step copies."""
    return True


@dataclass(frozen=True)
class Step(Generic[A]):
    """A step of an operation: its action and its undo."""

    name: str
    do: Callable[[Run[A]], Any]
    """Its return value is JSON, stored as results[name]."""
    undo: Callable[[Run[A]], None] | None = None
    """None: there is nothing to undo."""
    copies: Callable[[Run[A]], bool] = never
    """Whether the step's time depends on the project's data, so that it waits for one of the host's slots for copies;
    decided by the results of the steps before. An operation that waits for a slot keeps its locks and holds no
    thread."""
    stoppable: bool = True
    """Whether a cancel or a deadline ends the operation before or in this step. It is False for a step that commits the
    operation's result, and for those after it: the operation then goes on to its end, also after a crash."""
    needed: Callable[[Run[A]], bool] = always
    """Whether the step has anything to do, by the results of the steps before. If not, the journal does not record that
    the step begins: after a crash the operation resumes at the step before, which checks before it acts."""
    host: Callable[[Run[A]], str] | None = None
    """The place where `do` and `undo` run, as `host` or `host@backend`: a pure function of the arguments and the
    results of the steps before. A host alone: its only backend, or the operation's own. None: the operation's own host
    and backend. The step fails (BackendUnavailable) for a backend that no host has ever reported; one that is down is
    awaited."""
    awaited: bool = True
    """Whether the operation waits for the step's host without a limit, even when the host is gone (store/presence.py).
    If not, the step's undo counts as failed when the operation has to end or is undone, and other operations remove
    what it left when the host is back. A step that is not `stoppable` is skipped then, with those after it."""
    urgent: bool = False
    """Whether a step that is not awaited is undone at once where its host is gone, because a client waits meanwhile."""


def no_locks(_args: object) -> Sequence[Lock]:
    """For OperationType.locks: the operation may run beside every other one."""
    return ()


def no_rows(*_end: object) -> None:
    """For OperationType.succeed and fail: the end changes no row. The journal has the result or the error.

    Not for a type whose request gives a row a status in flight, which the row would keep for ever.
    """


@dataclass(frozen=True)
class OperationType(Generic[A]):
    """A type of operation, used where operations of the type are submitted, and listed in service.py."""

    name: str
    """The name in the journal. It must not change, nor may the names of the arguments and steps."""
    args: type[A]
    """A frozen dataclass of JSON values, or dict."""
    steps: tuple[Step[A], ...]
    locks: Callable[[A], Sequence[Lock]] = no_locks
    succeed: Callable[[sa.Connection, Operation, A], None] = no_rows
    """Sets the rows' final status, in the transaction that ends the operation."""
    fail: Callable[[sa.Connection, Operation, A, errors.Error], None] = no_rows
    modifies: bool = field(kw_only=True)
    """Whether the operation makes, changes or removes objects of its backend, and is refused while the backend is
    frozen. Operations that do not change objects go on: attach, detach, read. There is no default, so that no type
    forgets it."""
    lane: str = SHORT
    first: Callable[[Run[A]], Any] | None = None
    """Called before the journal is written, whose disk may be full: each time the operation is taken up on its own
    host. A step does the same again and reports the error."""
    adds: bool = False
    """Whether it adds a row, a file or an image, and is refused when the database's disk is nearly full."""
    removes: bool = False
    """Whether it removes objects of its host, so that it has succeeded when the host is lost."""
    ephemeral: bool = False
    """Whether its result is only for the caller that waits, and is removed from the journal soon after."""


def args_to_json(args: Any) -> dict[str, Any]:
    """The arguments in the journal's form."""
    if isinstance(args, dict):
        return args
    found = [(field, getattr(args, field.name)) for field in dataclasses.fields(args)]
    return {field.name: value for field, value in found if value or not field.metadata.get("if_set")}


def args_from_json(kind: type[A], stored: dict[str, Any]) -> A:
    """The arguments of a row of the journal; an argument that an older version did not write has its default.

    Raises InternalError for a missing argument without a default, and for an unknown name: an operation of a newer
    version is refused, and not run with a part of its arguments.
    """
    if not dataclasses.is_dataclass(kind):
        return typing.cast("A", stored)
    tuples = {name for name, hint in typing.get_type_hints(kind).items() if typing.get_origin(hint) is tuple}
    try:
        return kind(**{name: tuple(value) if name in tuples else value for name, value in stored.items()})
    except TypeError as error:
        raise errors.InternalError(reason=f"the arguments of an operation are not as expected: {error}") from None
