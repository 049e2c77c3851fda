"""The engine of one host: it grants locks to submitted operations in the order of submission, and runs them on threads.

Recovery after a crash is not a special case, and neither is an operation that another host hands over: an operation
that the journal has as unfinished and on this host, and that this process does not run, is taken up at its step. The
host lock (service.py) ensures that no other process runs it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from nbdsvc import errors
from nbdsvc.model import clock
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.operations.execution import ExcludedError, Execution, HandedOverError, Probe, no_probe
from nbdsvc.operations.journal import Journal
from nbdsvc.operations.locks import FileLocks, excluded
from nbdsvc.operations.operation_type import ACCESS, COPY, SHORT, OperationType
from nbdsvc.operations.slots import Slots
from nbdsvc.operations.unknown_type import typed
from nbdsvc.process import locks_held_by_children
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.presence import Presence

log = structlog.get_logger(__name__)

# Short operations that run at once in a lane; and the most when projects start further ones (see Slots).
SHORT_SLOTS, SHORT_MOST = 16, 32
# The most copies that run at once, for any number of projects: each needs some threads and a few MiB.
COPIES_MOST = 64


class _Lane:
    """A queue of one backend, with slots and threads of its own, so that operations in one lane do not delay others."""

    def __init__(self, name: str, slots: int, most: int) -> None:
        self.copies = name == COPY
        self.slots = Slots(slots, most)
        self.pool = ThreadPoolExecutor(max(slots, most), thread_name_prefix=f"{name}-operation")


class Engine:
    """Runs the operations that are on `host`. environment: the `run.environment` of their steps."""

    def __init__(
        self,
        database: Database,
        host: str,
        types: Mapping[str, OperationType[Any]],
        environment: Any,
        locks_folder: Path,
        poll_seconds: float = 1.0,
        probe: Probe = no_probe,
        copies: int = 4,
        copies_of: Mapping[str, int] | None = None,
        claim: Claim | None = None,
        gone_seconds: float = 30.0,
    ) -> None:
        self.host = host
        self._journal = Journal(database, host, claim)
        self._claim = claim
        self._presence = Presence(database, gone_seconds)
        self._types = types
        self._environment = environment
        self._files = FileLocks(locks_folder)
        self._poll = poll_seconds
        self._probe = probe
        self._mutex = threading.Lock()
        self._active: dict[str, Execution] = {}
        self._work = threading.Event()
        self._stopping = threading.Event()
        self.on_ended: Callable[[str], None] = lambda _id: None
        """Called after each end with the operation's id, by the thread that ran it. Raises nothing."""
        self._copies, self._copies_of = copies, copies_of or {}
        self._only_backend = next(iter(self._copies_of)) if len(self._copies_of) == 1 else ""
        # Lanes by name and backend, so that a backend that hangs fills only its own lanes.
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._dispatcher = threading.Thread(target=self._dispatch_forever, name="dispatcher", daemon=True)

    def _lane(self, name: str, backend: str) -> _Lane:
        """The lane of this name for operations on the backend. The caller holds the mutex."""
        backend = backend or self._only_backend
        if (name, backend) not in self._lanes:
            copies = self._copies_of.get(backend, self._copies), COPIES_MOST
            self._lanes[name, backend] = _Lane(name, *(copies if name == COPY else (SHORT_SLOTS, SHORT_MOST)))
        return self._lanes[name, backend]

    def start(self) -> None:
        self._dispatcher.start()

    def stop(self) -> None:
        """Interrupt running operations, which go on at the next start. Returns when all threads have ended."""
        self._stopping.set()
        self._work.set()
        if self._dispatcher.is_alive():
            self._dispatcher.join()
        for lane in self._lanes.values():
            lane.pool.shutdown(wait=True)

    def wake(self) -> None:
        """Let the engine look for work; called after the commit that submitted an operation."""
        self._work.set()

    def cancel(self, id: str) -> None:
        """Set the cancel flag of a running operation at once; else it would read the flag at its next poll."""
        running = self._active.get(id)
        if running is not None:
            running.cancelled = True
        self.wake()

    def _dispatch_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self._dispatch()
            except Exception as error:  # the database may be away for a while, and the loop must go on
                log.error("dispatch failed", reason=str(error))
                time.sleep(1)
            self._work.wait(self._poll)
            self._work.clear()

    def _is_interrupted(self) -> bool:
        """Whether the service stops, or another process has taken over this host."""
        return self._stopping.is_set() or (self._claim is not None and not self._claim.held)

    def _dispatch(self) -> None:
        if self._is_interrupted():
            return
        unfinished = self._journal.unfinished()
        here = [operation for operation in unfinished if operation.step_host == self.host]
        with self._mutex:
            self._grant(here)
            self._let_out(here)
            started = [(lane, self._active[id]) for lane in self._lanes.values() for id in self._starting(lane)]
        for lane, running in started:
            lane.pool.submit(self._run, running, lane)
        if len(here) < len(unfinished):
            self._take_back(operation for operation in unfinished if operation.step_host != self.host)

    def _take_back(self, away: Iterable[Operation]) -> None:
        """Take cancelled or late operations back from a host that has not taken them up, because it may be gone.

        An operation whose step does not wait for a host that is gone is also taken back when the host has taken it up.
        """
        for operation in away:
            try:
                if self._end_wait(operation) or self._leave_behind(operation):
                    log.info("operation taken back", operation=operation.id, host=operation.step_host)
                    self._work.set()
            except Exception as error:  # a failure must not stop the others
                log.error("operation could not be taken back", operation=operation.id, reason=str(error))

    def _end_wait(self, operation: Operation) -> bool:
        """False also where its step is not stoppable: then it is to be looked whether the host is gone."""
        waits = operation.taken_up or operation.state != model.RUNNING or not _is_to_end(operation)
        return not waits and self._running(operation).take_back()

    def _leave_behind(self, operation: Operation) -> bool:
        running = self._running(operation)
        return not running.waits_for_gone() and self._presence.is_gone(operation.step_host) and running.leave_behind()

    def _grant(self, unfinished: list[Operation]) -> None:
        """Queue operations that no other one excludes for a slot; a later one does not overtake an earlier one."""
        new = [operation for operation in unfinished if operation.id not in self._active]
        waiting = excluded(self._journal.claimed()) if any(each.state == model.PENDING for each in new) else set()
        for operation in new:
            if operation.id in waiting and not _is_to_end(operation):  # one that is to end needs no locks
                continue
            # Read again: since the list was read, it may have ended or left, which is written before it leaves _active.
            try:
                running = self._running(self._journal.get(operation.id))
            except errors.Replaced as error:  # it is taken up after the restart
                log.error("operation waits for a restart", operation=operation.id, reason=str(error))
                continue
            if running.operation.finished or running.operation.step_host != self.host:
                continue
            self._active[operation.id] = running
            # Cancelled operations use SHORT and not ACCESS: a project may cancel a thousand connects before its detach.
            lane = SHORT if _is_to_end(operation) and running.lane != ACCESS else running.lane
            self._lane(lane, running.operation.step_backend).slots.wait(operation.id, operation.project_id)

    def _let_out(self, unfinished: list[Operation]) -> None:
        """Move cancelled or late operations from the copies' queue to the short lane, because their undo is short."""
        for operation in unfinished:
            running, backend = self._active.get(operation.id), operation.step_backend
            waits = self._lane(COPY, backend).slots
            if not running or not waits.is_waiting(operation.id):
                continue
            running.cancelled |= operation.cancel_requested
            if running.cancelled or running.is_late():  # is_late uses the monotonic clock, like the steps
                waits.leave(operation.id)
                self._lane(SHORT, backend).slots.wait(operation.id, operation.project_id)

    def _starting(self, lane: _Lane) -> Iterator[str]:
        while not self._is_interrupted() and (id := lane.slots.next(self._counts)):
            yield id

    def _counts(self, id: str) -> bool:
        running = self._active.get(id)
        return running is not None and not running.is_slow()

    def _running(self, operation: Operation) -> Execution:
        type, args = typed(self._types, operation)
        return Execution(operation, type, args, self._journal, self._environment, self._is_interrupted, self._probe)

    def _run(self, running: Execution, lane: _Lane) -> None:
        operation, ended = running.operation, True
        bound = log.bind(operation=operation.id, kind=operation.kind, resource=operation.resource_id)
        try:
            # Lock files protect against child processes that outlive the service. An end of access starts none, and has
            # to work on a full disk.
            locks = [] if running.never_begins() or running.lane == ACCESS else operation.lock_set()
            with self._files.hold(locks, lambda: self._check_stop(running)) as fds, locks_held_by_children(fds):
                ended = running.execute(may_copy=lane.copies)
            if ended:
                bound.info("operation ended", state=running.state)
        except errors.Interrupted:
            bound.info("operation interrupted")
        except HandedOverError as error:
            bound.info("operation handed over", to=str(error))
        except ExcludedError:
            bound.debug("another operation has its locks")
        except Exception as error:  # the journal could not be written: the next dispatch tries again
            bound.error("operation could not be ended", reason=str(error))
            time.sleep(1)
        finally:
            self._leave(running, lane, ended)

    def _leave(self, running: Execution, lane: _Lane, ended: bool) -> None:
        id = running.id
        with self._mutex:
            lane.slots.leave(id)
            if ended:
                self._active.pop(id, None)
            else:
                copies = self._lane(COPY, running.operation.step_backend)
                copies.slots.wait(id, running.operation.project_id)
        if ended:
            self.on_ended(id)
        self._work.set()

    def _check_stop(self, running: Execution) -> None:
        """Raise Interrupted when the service stops, which alone ends the wait for a lock; `execute` sees a cancel."""
        if self._is_interrupted():
            raise errors.Interrupted(operation=running.id)


def _is_to_end(operation: Operation) -> bool:
    late = operation.deadline is not None and clock.now() > operation.deadline
    return operation.cancel_requested or late
