"""The engine of one host: takes what was submitted, grants locks in order of submission, runs it on threads.

Recovery after a crash is not a special case, nor is what another host hands over: an operation that is unfinished in the
journal, on this host now, and not running in this process is taken up at its step. The host lock (service.py) ensures that no
other process runs it.
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

# Operations at work at once where they are short, and how many there are at most when each project has its share.
SHORT_SLOTS, SHORT_MOST = 16, 32
# Copies at most, whatever their number of projects: each has some threads and a few MiB.
COPIES_MOST = 64


class _Lane:
    """A queue of one backend, its slots and its threads: what waits in one lane holds up no other."""

    def __init__(self, name: str, slots: int, most: int) -> None:
        self.copies = name == COPY
        self.slots = Slots(slots, most)
        self.pool = ThreadPoolExecutor(max(slots, most), thread_name_prefix=f"{name}-operation")


class Engine:
    """Runs the operations that are on `host`. `environment` is what their steps find in `run.environment`."""

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
        self.on_ended: Callable[[], None] = lambda: None
        """Called after each end, by the thread that ran it."""
        self._copies, self._copies_of = copies, copies_of or {}
        self._only_backend = next(iter(self._copies_of)) if len(self._copies_of) == 1 else ""
        # By lane and backend: a backend that hangs fills its own lanes only.
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._dispatcher = threading.Thread(target=self._dispatch_forever, name="dispatcher", daemon=True)

    def _lane(self, name: str, backend: str) -> _Lane:
        """The lane of this name for operations that are on that backend. The caller has the mutex."""
        backend = backend or self._only_backend
        if (name, backend) not in self._lanes:
            copies = self._copies_of.get(backend, self._copies), COPIES_MOST
            self._lanes[name, backend] = _Lane(name, *(copies if name == COPY else (SHORT_SLOTS, SHORT_MOST)))
        return self._lanes[name, backend]

    def start(self) -> None:
        self._dispatcher.start()

    def stop(self) -> None:
        """Interrupt what runs; it goes on at the next start. Returns when no thread of ours touches anything."""
        self._stopping.set()
        self._work.set()
        if self._dispatcher.is_alive():
            self._dispatcher.join()
        for lane in self._lanes.values():
            lane.pool.shutdown(wait=True)

    def wake(self) -> None:
        """There may be work: call it after the commit that submitted an operation."""
        self._work.set()

    def cancel(self, id: str) -> None:
        """Let a running operation see its cancel flag at once instead of at its next look into the database."""
        running = self._active.get(id)
        if running is not None:
            running.cancelled = True
        self.wake()

    def _dispatch_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self._dispatch()
            except Exception as error:  # the database may be away for a while; the loop must outlive that
                log.error("dispatch failed", reason=str(error))
                time.sleep(1)
            self._work.wait(self._poll)
            self._work.clear()

    def _is_interrupted(self) -> bool:
        """The service stops, or another process serves this host now."""
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
        """End the wait of operations that are cancelled or late for a host that has not taken them up: it may be gone.

        Of those whose step does not wait for a host that is gone, also where it has taken them up.
        """
        for operation in away:
            try:
                if self._end_wait(operation) or self._leave_behind(operation):
                    log.info("operation taken back", operation=operation.id, host=operation.step_host)
                    self._work.set()
            except Exception as error:  # the others go on
                log.error("operation could not be taken back", operation=operation.id, reason=str(error))

    def _end_wait(self, operation: Operation) -> bool:
        """False also where its step is not stoppable: then it is to be looked whether the host is gone."""
        waits = operation.taken_up or operation.state != model.RUNNING or not _is_to_end(operation)
        return not waits and self._running(operation).take_back()

    def _leave_behind(self, operation: Operation) -> bool:
        running = self._running(operation)
        return not running.waits_for_gone() and self._presence.is_gone(operation.step_host) and running.leave_behind()

    def _grant(self, unfinished: list[Operation]) -> None:
        """Let operations that no other one excludes wait for a slot; later ones overtake no earlier one."""
        new = [operation for operation in unfinished if operation.id not in self._active]
        waiting = excluded(self._journal.claimed()) if any(each.state == model.PENDING for each in new) else set()
        for operation in new:
            if operation.id in waiting and not _is_to_end(operation):  # one that is to end begins nothing
                continue
            # It may have ended or left since it was listed: that is written before it leaves the active ones.
            running = self._running(self._journal.get(operation.id))
            if running.operation.finished or running.operation.step_host != self.host:
                continue
            self._active[operation.id] = running
            # Not among the ends of access: a project may have queued, and cancelled, a thousand connects before its detach.
            lane = SHORT if _is_to_end(operation) and running.lane != ACCESS else running.lane
            self._lane(lane, running.operation.step_backend).slots.wait(operation.id, operation.project_id)

    def _let_out(self, unfinished: list[Operation]) -> None:
        """Move operations that are cancelled or late out of the queue for slots: their undo is short and needs none."""
        for operation in unfinished:
            running, backend = self._active.get(operation.id), operation.step_backend
            waits = self._lane(COPY, backend).slots
            if not running or not waits.is_waiting(operation.id):
                continue
            running.cancelled |= operation.cancel_requested
            if running.cancelled or running.is_late():  # by the clock that does not jump, as its steps see it
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
            # The files of locks are for children that outlive us; an end of access has none, and may have no room for a file.
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
        except Exception as error:  # not even the journal could be written: stay in the list, try again later
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
            self.on_ended()
        self._work.set()

    def _check_stop(self, running: Execution) -> None:
        """While waiting for an orphan's lock only a stop of the service ends the wait; a cancel is seen by execute."""
        if self._is_interrupted():
            raise errors.Interrupted(operation=running.id)


def _is_to_end(operation: Operation) -> bool:
    late = operation.deadline is not None and clock.now() > operation.deadline
    return operation.cancel_requested or late
