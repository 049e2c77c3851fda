"""Runs one operation: its steps forwards, and their undo backwards when a step fails.

Before a step of another place (Step.host), the execution ends: it writes the step's intent for that place, whose engine
goes on. The step at the cursor runs at the place in the row. An operation ends on its own host: after a last step at
another place it is handed back with a cursor beyond its steps (after a last undo: before them).
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.deadline import Deadline
from nbdsvc.operations.journal import Journal
from nbdsvc.operations.operation_type import OperationType, Step
from nbdsvc.operations.rate_estimator import RateEstimator
from nbdsvc.operations.step_places import StepPlaces

# Seconds between two writes of progress: more would cost fsyncs, and no client reads progress so often.
PROGRESS_SECONDS = 0.5
# Seconds between two reads of the cancel flag and the rate; a cancel from this process takes effect at once.
CONTROL_POLL_SECONDS = 0.5
# Seconds before each further run of an undo that failed; after the last one its failure is stored at once.
UNDO_PAUSES = (0.0, 1.0)

Probe = Callable[[str, Operation, str], None]


def no_probe(_moment: str, _operation: Operation, _step: str) -> None:
    """Do nothing. Tests pass another function, which ends the process at a chosen moment."""


class ExcludedError(Exception):
    """Another operation holds a conflicting lock by now, perhaps on another host; or the operation was taken back."""


class HandedOverError(Exception):
    """The operation goes on at another place."""


class Execution:
    """The Run that steps get (operations/operation_type.py); runs the steps in order."""

    def __init__(
        self,
        operation: Operation,
        operation_type: OperationType[Any],
        args: Any,
        journal: Journal,
        environment: Any,
        interrupted: Callable[[], bool],
        probe: Probe,
    ) -> None:
        self.operation = operation
        self.args = args
        self.results: dict[str, Any] = dict(operation.results)
        self.environment = environment
        self.cancelled = operation.cancel_requested
        self.rate = operation.rate
        self._type = operation_type
        self._journal = journal
        self._interrupted = interrupted
        self._probe = probe
        self._undoing = operation.state == model.UNDOING
        self._flags_read = time.monotonic()
        self._rate_estimator = RateEstimator(operation.progress_done)
        self._at = max(operation.cursor, 0)
        self.state = operation.state
        self._begun = False
        self._stoppable = True
        self._cursor = operation.cursor
        self._deadline = Deadline(operation)
        self._places = StepPlaces(operation, operation_type.steps)

    @property
    def id(self) -> str:
        return self.operation.id

    @property
    def lane(self) -> str:
        return self._type.lane

    def make_home(self, conn: sa.Connection) -> None:
        self._journal.make_home(conn, self.id, self._places.here)
        self._places.own = self._places.here

    def raise_if_stopped(self) -> None:
        if self._interrupted():
            raise errors.Interrupted(operation=self.id)
        if self._undoing or not self._stoppable:
            return  # an undo cannot be cancelled, because a cancel itself needs the undo
        if self._cancel_seen():
            raise errors.Cancelled(operation=self.id)
        if self.is_late():
            raise errors.TimedOut(operation=self.id, seconds=self._deadline.seconds)

    def is_late(self) -> bool:
        return self._deadline.is_over()

    def never_begins(self) -> bool:
        """Whether it was cancelled or late before it began. This stays true, because its first check ends it."""
        return self.operation.state == model.PENDING and not self._begun and (self.cancelled or self.is_late())

    def should_stop(self) -> bool:
        try:
            self.raise_if_stopped()
        except errors.OperationError:
            return True
        return False

    def progress(self, done: int, total: int, text: str = "", data: int = 0) -> None:
        self._rate_estimator.note(done)
        if self._rate_estimator.seconds() >= PROGRESS_SECONDS or done >= total > 0:
            with suppress(errors.DatabaseUnavailable):  # the copy goes on; the next access to the database raises again
                self._journal.progress(self.id, done, total, text, data, self._rate_estimator.rate(done))

    def is_slow(self) -> bool:
        """Whether the operation copies so slowly that it needs no slot."""
        return self._rate_estimator.is_slow()

    def execute(self, *, may_copy: bool = True) -> bool:
        """Run the operation to its end and return True. Without `may_copy`, return False before a step that copies.

        Raises only Interrupted and DatabaseUnavailable (the journal has the step to resume at), ExcludedError (nothing
        was begun), and HandedOverError.
        """
        if self._type.first and not self.cancelled and self._places.at_home:
            with suppress(Exception):  # the step gets the same error and reports it
                self._type.first(self)
        self._rate_estimator.restart()
        if self._undoing and self.operation.error:
            self._begin()
            self._undo(errors.from_facts(self.operation.error))
            return True
        try:
            return self._forward(may_copy)
        except (errors.Interrupted, errors.DatabaseUnavailable, ExcludedError, HandedOverError):
            raise
        except Exception as error:  # any error, because the rows must get their final status
            self._begin_or_abandon()
            self._undo(error if isinstance(error, errors.Error) else errors.InternalError(reason=repr(error)))
            return True

    def _forward(self, may_copy: bool) -> bool:
        for index in range(self._at, len(self._type.steps)):
            step = self._type.steps[index]
            self._stoppable = step.stoppable
            self.raise_if_stopped()
            self._go_to(index)
            if step.copies(self) and not may_copy:
                self._begin()
                return False
            if step.needed(self):
                self._note(index)
            self._probe("before do", self.operation, step.name)
            self.results[step.name] = step.do(self)
            self._probe("after do", self.operation, step.name)
            self._at = index + 1
        if not self._places.at_home:
            self._hand_over(len(self._type.steps), self._places.own)
        self._begin()
        self._journal.succeed(self._type, self.operation, self.args, self.results)
        self.state = model.SUCCEEDED
        return True

    def take_back(self) -> bool:
        """Undo a cancelled or late operation from the step before; False when its present host has taken it up."""
        self._stoppable = self._step().stoppable
        try:
            self.raise_if_stopped()
        except (errors.Cancelled, errors.TimedOut) as error:
            before, places = self._cursor - 1, self._places
            has_undo = before >= 0 and self._type.steps[before].undo
            place = places.of(self, before, self._cursor) if has_undo else places.own
            return self._journal.take_back(self.operation, error, place)
        return False

    def waits_for_gone(self) -> bool:
        """Whether the operation waits for its present host even when the host is gone."""
        step = self._step()
        waits = step.stoppable and not step.urgent and not self._is_to_end()
        return step.awaited or (self.state != model.UNDOING and waits)

    def _is_to_end(self) -> bool:
        return self.cancelled or self.is_late()

    def _step(self) -> Step[Any]:
        """The step at the cursor; the last or the first one when only the end is left."""
        return self._type.steps[min(max(self._cursor, 0), len(self._type.steps) - 1)]

    def leave_behind(self) -> bool:
        """Go on without the present host, which is gone (see Step.awaited). False when it has gone on after all."""
        step, full_name = self._step(), names.join_host(self._places.here.host, self._places.here.backend)
        gone = errors.BackendUnavailable(backend=full_name, reason="its host is gone")
        if self.state != model.UNDOING and not step.stoppable:
            return self._journal.seize(self.operation, gone, -1, self._places.own)
        try:
            self.raise_if_stopped()
            error = errors.from_facts(self.operation.error or errors.facts_of(gone))
        except (errors.Cancelled, errors.TimedOut) as stopped:
            error = stopped
        before = min(self._cursor, len(self._type.steps)) - 1
        has_undo = before >= 0 and self._type.steps[before].undo
        place = self._places.of(self, before, self._cursor) if has_undo else self._places.own
        return self._journal.seize(self.operation, self._left(error, step.name, gone), before, place)

    def _left(self, error: errors.Error, step: str, reason: Exception) -> errors.RollbackFailed:
        cause = error.facts["cause"] if isinstance(error, errors.RollbackFailed) else str(error)
        return errors.RollbackFailed(operation=self.id, step=step, cause=cause, undo_error=str(reason))

    def _go_to(self, index: int) -> None:
        """Hand the operation over if the step runs at another place. Raises BackendUnavailable for an unknown place."""
        place = self._places.of(self, index, self._cursor)
        if place == self._places.here:
            return
        if place != self._places.own:
            self._journal.check_backend(place)
        self._hand_over(index, place)

    def _hand_over(self, index: int, place: Place) -> NoReturn:
        self._note(index, place)
        raise HandedOverError(names.join_host(place.host, place.backend))

    def _begin(self, cursor: int | None = None, place: Place | None = None) -> None:
        """Count the attempt, once. cursor: the step that begins in the same transaction. Raises ExcludedError."""
        if not self._begun:
            if not self._journal.begin(self.operation, cursor, self.results, place):
                raise ExcludedError
            self._begun = True

    def _begin_or_abandon(self) -> None:
        """Count the attempt. An operation that never began gets no locks, because its end only changes its own rows."""
        if not self._begun and self.operation.state == model.PENDING:
            self._journal.abandon(self.operation)
            self._begun = True
        self._begin()

    def _note(self, index: int, place: Place | None = None) -> None:
        """Record that this step begins, or the place where it is to begin. Raises ExcludedError."""
        if self._begun:
            self._journal.intend(self.id, index, self.results, place)
        else:
            self._begin(index, place)
        self._cursor = index

    def _undo(self, error: errors.Error) -> None:
        self._undoing = True
        for index in range(min(self._cursor, len(self._type.steps) - 1), -1, -1):
            step = self._type.steps[index]
            self._note_undo(index, error, self._places.of_undo(self, index, self._cursor))
            self._probe("before undo", self.operation, step.name)
            failed = self._undo_step(step.undo) if step.undo else None
            if failed is not None:
                error = self._left(error, step.name, failed)
            self._probe("after undo", self.operation, step.name)
        if not self._places.at_home:
            self._note_undo(-1, error, self._places.own)
        self.state = self._journal.fail(self._type, self.operation, self.args, error)

    def _note_undo(self, index: int, error: errors.Error, place: Place) -> None:
        """Record that this undo begins, or hand the operation over if the undo runs at another place."""
        moved = place != self._places.here
        self._journal.undoing(self.id, index, error, place if moved else None)
        if moved:
            raise HandedOverError(names.join_host(place.host, place.backend))

    def _undo_step(self, undo: Callable[["Execution"], None]) -> Exception | None:
        failed = self._try_undo(undo)
        for pause in UNDO_PAUSES:
            if failed is None:
                return None
            time.sleep(pause)
            failed = self._try_undo(undo)
        return failed

    def _try_undo(self, undo: Callable[["Execution"], None]) -> Exception | None:
        try:
            undo(self)
        except (errors.Interrupted, errors.DatabaseUnavailable):
            raise
        except Exception as error:
            return error
        return None

    def _cancel_seen(self) -> bool:
        if not self.cancelled and time.monotonic() - self._flags_read > CONTROL_POLL_SECONDS:
            self._flags_read = time.monotonic()
            with suppress(errors.DatabaseUnavailable):  # without the database, no request can have set the flag
                self.cancelled, self.rate = self._journal.control_flags(self.id)
        return self.cancelled
