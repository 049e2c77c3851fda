"""Operation types: typed arguments, the locks that they need, steps with do and undo, and their ends.

A step is run again whenever the process died before its result was recorded. So each looks before it acts: an object
that is there already and carries this operation's id is success; one that carries another id is not touched; an undo
removes only what carries it. Results are JSON and are there again after a restart.
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

# Metadata of an argument that is kept only where it says something: a host of an older version does not know its name.
IF_SET = {"if_set": True}
# Lanes of the engine: what ends or repairs access, what is short, what copies.
ACCESS, SHORT, COPY = "access", "short", "copy"


class Run(Protocol[A_co]):
    """An operation under way, as its steps see it."""

    operation: Operation
    results: dict[str, Any]
    """What the steps before returned, by the step's name."""
    environment: Any
    """What the engine that runs this step was given for its steps: the Host."""
    rate: int
    """Bytes a second that it may copy, 0 for no limit of its own; changes while it runs."""

    @property
    def args(self) -> A_co:
        """The arguments of the operation."""

    @property
    def id(self) -> str:
        """The operation's id: the owner mark of every object that it makes."""

    def make_home(self, conn: sa.Connection) -> None:
        """In this transaction: the operation belongs to the place where it is, and ends there."""

    def raise_if_stopped(self) -> None:
        """Raise Cancelled, TimedOut or Interrupted when the operation is to end. Call it in every loop."""

    def should_stop(self) -> bool:
        """Whether raise_if_stopped would raise. For callbacks out of C."""

    def progress(self, done: int, total: int, text: str = "", data: int = 0) -> None:
        """Report bytes done of `total`; `data`: bytes that had to be written. Cheap: written twice a second at most."""


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
    """May return JSON, kept as results[name]."""
    undo: Callable[[Run[A]], None] | None = None
    """None: there is nothing to take back."""
    copies: Callable[[Run[A]], bool] = never
    """Whether it may take as long as its project likes, so that it waits for one of the host's slots for copies; decided
    by the results of the steps before it. An operation that waits for a slot keeps its locks and holds no thread."""
    stoppable: bool = True
    """Whether a cancel or a deadline ends the operation before or in this step. A step where what was done becomes the truth,
    and those after it, say no: it goes on to its end, also where they are run again after a crash."""
    needed: Callable[[Run[A]], bool] = always
    """Whether there is anything to do, by the results of the steps before. Where not, the journal does not note that the
    step begins: after a crash the operation goes on at the step before, which looks before it acts."""
    host: Callable[[Run[A]], str] | None = None
    """Where do and undo run, as `host` or `host@backend`, decided by the arguments and the results of the steps before, each
    time the same. A host alone: its only backend, or the operation's own. None: the operation's own host and backend.
    Where no host has ever reported such a backend, it fails (BackendUnavailable); one that is down is waited for."""
    awaited: bool = True
    """Whether its host is waited for also where that is gone (store/presence.py), as long as it takes. Where not, the undo of
    this step counts as failed then, once the operation is to end or is undone: what it left there is found and removed by
    others when the host is back. Of steps that are not `stoppable`, it is left out then, with those after it."""


def no_locks(_args: object) -> Sequence[Lock]:
    """For OperationType.locks: it may run beside every other operation."""
    return ()


def no_rows(*_end: object) -> None:
    """For OperationType.succeed and fail: no row waits for this end. The journal keeps the result or the error.

    Not for a type whose request gives a row a status that passes: that row would keep it for ever.
    """


@dataclass(frozen=True)
class OperationType(Generic[A]):
    """A type of operation, referenced where it is submitted and listed in service.py."""

    name: str
    """As the journal keeps it: it stays, and so do the names of its arguments and steps."""
    args: type[A]
    """A frozen dataclass of JSON values, or dict."""
    steps: tuple[Step[A], ...]
    locks: Callable[[A], Sequence[Lock]] = no_locks
    succeed: Callable[[sa.Connection, Operation, A], None] = no_rows
    """Moves the rows to their final status, in the transaction that ends the operation."""
    fail: Callable[[sa.Connection, Operation, A, errors.Error], None] = no_rows
    modifies: bool = field(kw_only=True)
    """Whether it makes, changes or removes something on its backend: it is refused while that is frozen. What leaves the
    backend's objects as they are goes on: to attach, to detach, to read. It has no default, so that no type forgets it."""
    lane: str = SHORT
    first: Callable[[Run[A]], Any] | None = None
    """Done before the journal is written, which may have no room: each time that the operation is taken up on its own host,
    and again by a step that reports its error."""
    adds: bool = False
    """It leaves a row, a file or an image behind, and is refused where the database has hardly any room left."""
    removes: bool = False
    """It removes what is on its host, and so it has succeeded where that host is lost."""
    ephemeral: bool = False
    """Its result is for the caller that waits for it, and leaves the journal soon after."""


def args_to_json(args: Any) -> dict[str, Any]:
    """The arguments as the journal keeps them."""
    if isinstance(args, dict):
        return args
    found = [(field, getattr(args, field.name)) for field in dataclasses.fields(args)]
    return {field.name: value for field, value in found if value or not field.metadata.get("if_set")}


def args_from_json(kind: type[A], stored: dict[str, Any]) -> A:
    """The arguments of a row of the journal; what an older version did not write has its default.

    Raises InternalError where a value without a default is missing, and for a name that this version does not know:
    an operation of a newer version is refused rather than run by half of its arguments.
    """
    if not dataclasses.is_dataclass(kind):
        return typing.cast("A", stored)
    tuples = {name for name, hint in typing.get_type_hints(kind).items() if typing.get_origin(hint) is tuple}
    try:
        return kind(**{name: tuple(value) if name in tuples else value for name, value in stored.items()})
    except TypeError as error:
        raise errors.InternalError(reason=f"the arguments of an operation are not as expected: {error}") from None
