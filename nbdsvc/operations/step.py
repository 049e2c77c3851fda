"""What an operation is made of: steps with a do and an undo, and what a step may ask of the engine while it runs.

A step is run again whenever the process died before its result was recorded. So each looks before it acts: what is
there already and carries this operation's id is success; what carries another's is not touched; an undo removes only
what carries it. Results are JSON and are there again after a restart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model.operation import Operation


class Run(Protocol):
    """One operation under way, as its steps see it."""

    operation: Operation
    args: dict[str, Any]
    results: dict[str, Any]
    environment: Any
    lock_fds: tuple[int, ...]
    rate: int
    """Bytes a second that it may copy, 0 for no limit of its own; changes while it runs."""

    @property
    def id(self) -> str:
        """The operation's id: the owner mark of every object that it makes."""

    def check(self) -> None:
        """Raise Cancelled, TimedOut or Interrupted when the operation is to end. Call it in every loop."""

    def should_stop(self) -> bool:
        """The same as a question, for callbacks out of C. True also when the service stops."""

    def progress(self, done: int, total: int, text: str = "", data: int = 0) -> None:
        """Say how far it is; `data`: bytes that had to be written. Cheap: written to the journal twice a second at most."""


Do = Callable[[Run], Any]
Undo = Callable[[Run], None]
Settle = Callable[[sa.Connection, Operation], None]
Fail = Callable[[sa.Connection, Operation, errors.Error], None]


def never(_run: Run) -> bool:
    return False


def always(_run: Run) -> bool:
    return True


@dataclass(frozen=True)
class Step:
    """`do` may return JSON, kept as results[name]. Without `undo` there is nothing to take back.

    `copies`: whether it may take as long as its project likes, so that it waits for one of the host's slots for copies;
    judged by the results of the steps before it. An operation that waits for a slot keeps its locks and holds no thread.
    """

    name: str
    do: Do
    undo: Undo | None = None
    copies: Callable[[Run], bool] = never


# Lanes of the engine: what ends or repairs access, what is short, what copies.
ACCESS, SHORT, COPY = "access", "short", "copy"


@dataclass(frozen=True)
class Kind:
    """One sort of operation. `succeed` and `fail` move the rows to a settled status in the transaction that ends it."""

    name: str
    steps: tuple[Step, ...]
    succeed: Settle
    fail: Fail
    lane: str = SHORT
    first: Do | None = None
    """What is done before the journal is written, which may have no room: each time, and again by a step that tells of it."""
