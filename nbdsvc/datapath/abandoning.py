"""Calls that may wait for a server without a limit, on threads of their own, so that the caller can stop to wait."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")
# Seconds between two calls of `should_stop`: a cancel takes effect within 100 ms.
TICK_SECONDS = 0.05
_End = None


class Abandoned(Exception):
    """The caller no longer waits for the call; the call itself may still be under way."""


class Abandonable:
    """Runs `pread` on at most `threads` threads of its own, so that `abort` ends every wait for it at once."""

    def __init__(self, pread: Callable[[int, int], bytes], threads: int) -> None:
        self._pread = pread
        self._most = threads
        self._threads = 0
        self._wanted: queue.SimpleQueue[tuple[Future[bytes], int, int] | None] = queue.SimpleQueue()
        self._waiting: set[Future[bytes]] = set()
        self._lock = threading.Lock()
        self._aborted = False

    def pread(self, offset: int, length: int) -> bytes:
        """The result or error of the wrapped `pread`; Abandoned after `abort`."""
        future: Future[bytes] = Future()
        with self._lock:
            if self._aborted:
                raise Abandoned
            self._waiting.add(future)
            if self._threads < min(self._most, len(self._waiting)):
                self._threads += 1
                threading.Thread(target=self._serve, name="reader", daemon=True).start()
        self._wanted.put((future, offset, length))
        try:
            return future.result()
        finally:
            with self._lock:
                self._waiting.discard(future)

    def abort(self) -> None:
        """End every wait for a read. The threads end when their calls have returned."""
        with self._lock:
            self._aborted = True
            waiting, threads = list(self._waiting), self._threads
        for future in waiting:
            with suppress(InvalidStateError):
                future.set_exception(Abandoned())
        for _ in range(threads):
            self._wanted.put(_End)

    def _serve(self) -> None:
        while wanted := self._wanted.get():
            future, offset, length = wanted
            try:
                content = self._pread(offset, length)
            except BaseException as error:
                with suppress(InvalidStateError):
                    future.set_exception(error)
            else:
                with suppress(InvalidStateError):
                    future.set_result(content)


@contextmanager
def opened(function: Callable[[], T], should_stop: Callable[[], bool], late: Callable[[T], None]) -> Iterator[T]:
    """A block with the result of `function()`. Raises Abandoned as soon as `should_stop` is true.

    A result that comes after that goes to `late`. The thread that makes the call lives as long as the block, because a
    child process with PR_SET_PDEATHSIG is killed when the thread that started it ends (prctl(2)).
    """
    future: Future[T] = Future()
    lock, over = threading.Lock(), threading.Event()
    threading.Thread(target=_open, args=(future, lock, over, function, late), name="opener", daemon=True).start()
    try:
        yield _result(future, lock, should_stop)
    finally:
        over.set()


def _open(
    future: Future[T], lock: threading.Lock, over: threading.Event, function: Callable[[], T], late: Callable[[T], None]
) -> None:
    try:
        result = function()
    except BaseException as error:
        with lock, suppress(InvalidStateError):
            future.set_exception(error)
        return
    with lock:
        is_late = future.cancelled()
        if not is_late:
            future.set_result(result)
    if is_late:
        late(result)
    else:
        over.wait()


def _result(future: Future[T], lock: threading.Lock, should_stop: Callable[[], bool]) -> T:
    while True:
        wait([future], TICK_SECONDS)
        with lock:
            if future.done() or (should_stop() and future.cancel()):
                break
    if future.cancelled():
        raise Abandoned
    return future.result()
