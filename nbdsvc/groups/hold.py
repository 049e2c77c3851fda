"""Holds the writers of several volumes, so that what is taken of all of them meanwhile is of one moment.

The exports of a group close their gates one after the other: requests under way end, later ones wait. A transport without
gates writes to the storage itself, whose driver may take snapshots of one moment (ConsistentSnapshotDriver). When the last
gate is closed, every acknowledged write is in its volume, and none comes; then the snapshots are taken, and the gates open. A
write that followed another one's acknowledgement is therefore in no snapshot without it.

A gate opens by itself at its deadline, and when the process that closed it is gone (nbdsvc/exporter.py). Whether it has
been closed all the time is known at the release: where it has not, what was taken is given up and taken again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from nbdsvc import errors
from nbdsvc.exporter import HoldingExporter, WriteHold
from nbdsvc.host import Host, backend_of, host_of
from nbdsvc.model.entities import Attachment
from nbdsvc.operations.operation_type import Run
from nbdsvc.store import repositories

log = structlog.get_logger(__name__)

# Seconds that writers wait at most: a third of what the kernel's NBD client waits by default, and enough for some dozens
# of snapshots by lvcreate.
HOLD_SECONDS = 10.0
# The most tries. A second one is needed where a server has ended by itself, or a detach ended it.
TRIES = 3
# Seconds between two tries: a server that has ended by itself is started again in less.
PAUSE_SECONDS = 0.5
# Transports that can hold writers. The API refuses by it what an operation would find out.
HOLDING = ("nbd",)


@dataclass
class Taken:
    """How something was taken of several volumes. seconds: how long writers were held. reason: why it may not be of one
    moment; empty where it is.
    """

    reason: str = ""
    seconds: float = 0.0
    writers: int = 0

    def text(self) -> str:
        """For people who look at the operation."""
        held = f"writers of {self.writers} exports were held for {self.seconds * 1000:.1f} ms"
        return f"not of one moment: {self.reason}" if self.reason else held if self.writers else "nothing was written"


@dataclass
class _Holds:
    """The gates that are closed. began: when the first one was."""

    began: float = 0.0
    held: list[WriteHold] = field(default_factory=list)


def take_together(
    run: Run[Any],
    volume_ids: Sequence[str],
    take: Callable[[], float | None],
    discard: Callable[[], None],
    *,
    demanded: bool,
    tries: int = TRIES,
) -> Taken:
    """Call `take` while nothing is written to the volumes. discard: removes what an earlier call of `take` has made. take:
    returns for how many seconds it let writers wait that have no gate, if it does.

    Where writers cannot be held, the result says why. demanded: `take` is not called then; else it is called all the same.
    Errors: those of the two functions.
    """
    taken = Taken()
    for left in reversed(range(tries)):
        run.raise_if_stopped()
        discard()
        taken = _try(run, volume_ids, take, anyway=not (demanded or left))
        if not taken.reason:
            break
        log.warning("not of one moment", operation=run.id, reason=taken.reason)
        time.sleep(PAUSE_SECONDS if left else 0)
    return taken


def _try(run: Run[Any], volume_ids: Sequence[str], take: Callable[[], float | None], *, anyway: bool) -> Taken:
    writers = exported(host_of(run), volume_ids)
    holds = _Holds()
    with _closed(run, writers, holds) as reason:
        if reason and not anyway:
            return Taken(reason)
        seconds = take() or 0.0
        still = [hold.release() for hold in holds.held]
    if not reason and not all(still):
        reason = f"{still.count(False)} of {len(still)} exports did not hold their writers until the end"
    if still:
        seconds = time.monotonic() - holds.began
    return Taken(reason, seconds, len(writers) if seconds else 0)


@contextmanager
def _closed(run: Run[Any], writers: Sequence[Attachment], holds: _Holds) -> Iterator[str]:
    """All gates are closed in the block; its value says why not, where one could not be."""
    with ExitStack() as stack:
        reason = ""
        holds.began = time.monotonic()
        try:
            for attachment, exporter in _gates(run, writers):
                hold = exporter.hold_writes(attachment.id, HOLD_SECONDS)
                stack.callback(hold.release)
                holds.held.append(hold)
        except (errors.ExportFailed, errors.Unsupported) as error:
            reason = str(error)
            stack.close()  # none waits for what is not of one moment anyway
            holds.held.clear()
        yield reason


def _gates(run: Run[Any], writers: Sequence[Attachment]) -> list[tuple[Attachment, HoldingExporter]]:
    """Those that are to be closed; Unsupported for a transport without them, where the driver does not need it."""
    found: list[tuple[Attachment, HoldingExporter]] = []
    for attachment in writers:
        exporter = host_of(run).exporter(str(attachment.protocol))
        if isinstance(exporter, HoldingExporter):
            found.append((attachment, exporter))
        elif backend_of(run).consistent_snapshots() is None:
            raise errors.Unsupported(reason=f"exports by {exporter.protocol} cannot hold their writers")
    return found


def exported(host: Host, volume_ids: Sequence[str]) -> list[Attachment]:
    """The attachments by which something may be written to these volumes."""
    with host.database.read() as conn:
        found = repositories.attachments_of(conn, *volume_ids) if volume_ids else []
    return [each for each in found if each.exported and each.mode != "ro"]
