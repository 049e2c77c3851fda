"""Calls of the C core, and the only place that converts its error numbers to errors of nbdsvc."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from nbdsvc import errors
from nbdsvc._native import ffi, lib

if TYPE_CHECKING:
    from nbdsvc.datapath.abandoning import Abandonable

READ, WRITE, JOURNAL = 1, 2, 3
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TICK_SECONDS = 0.05
# The error numbers by which readers of image formats report a damaged image (native/source/qcow2.c).
_BAD = (errno.EBADMSG, errno.EILSEQ, errno.ENODATA)

PreadCallback = Callable[[int, int], bytes]


class Callback:
    """A Python function as an input of the C core. Its first exception is stored in `error`: C only gets a number.

    `abort`: a function that ends reads under way. Without it, reads run on threads of their own, and after an abort no
    caller waits for them.
    """

    def __init__(self, pread: PreadCallback, abort: Callable[[], None] | None = None, threads: int = 1) -> None:
        self._reader = None if abort else _abandonable(pread, threads)
        self._pread = self._reader.pread if self._reader else pread
        self._stop_reads = self._reader.abort if self._reader else abort
        self._aborted = False
        self._lock = threading.Lock()
        self.error: Exception | None = None
        self.handle = ffi.new_handle(self)

    def abort(self) -> None:
        """Let reads that are under way, and later ones, fail as interrupted. May be called on any thread."""
        self._aborted = True
        if self._stop_reads:
            self._stop_reads()

    def close(self) -> None:
        """End the reads on the callback's own threads. Does nothing where the constructor was given `abort`."""
        if self._reader:
            self._reader.abort()

    def fill(self, buffer: Any, length: int, offset: int) -> int:
        """Read `length` bytes into a C buffer: 0, -ECANCELED after `abort`, or -EIO with the exception in `error`."""
        if self._aborted:
            return -errno.ECANCELED
        try:
            content = self._pread(offset, length)
            if len(content) != length:
                raise EOFError(f"{len(content)} bytes instead of {length}")
        except Exception as error:
            if self._aborted:
                return -errno.ECANCELED
            with self._lock:
                self.error = self.error or error
            return -errno.EIO
        ffi.memmove(buffer, content, length)
        return 0


def _abandonable(pread: PreadCallback, threads: int) -> "Abandonable":
    # Imported here, because the module loads thread pools, which copies of files do not need.
    from nbdsvc.datapath.abandoning import Abandonable

    return Abandonable(pread, threads)


@ffi.def_extern(error=-errno.EIO)  # type: ignore[untyped-decorator]
def nbdsvc_python_pread(context: Any, buffer: Any, length: int, offset: int) -> int:
    """The read function that C calls. `context`: the handle of a Callback. Returns 0 or -errno."""
    callback: Callback = ffi.from_handle(context)
    return callback.fill(buffer, length, offset)


def input_of_fd(fd: int, name: str) -> Any:
    """A C input over a file or device; the caller closes the descriptor. Raises ReadFailed."""
    made = ffi.new("struct nbdsvc_input **")
    result = lib.nbdsvc_input_fd_create(fd, made)
    if result < 0:
        raise errors.ReadFailed(source=name, offset=0, reason=os.strerror(-result))
    return made[0]


def input_of_callback(callback: Callback, size: int) -> Any:
    """A C input of `size` bytes over the callback, which has to outlive the input."""
    made = ffi.new("struct nbdsvc_input **")
    if lib.nbdsvc_input_callback_create(lib.nbdsvc_python_pread, callback.handle, size, made) < 0:
        raise MemoryError
    return made[0]


def source_of(input: Any, format: str, name: str, snapshot: str | None = None) -> Any:
    """A source over the input, which the source owns from now on. Raises BadImage or ReadFailed."""
    made, message = ffi.new("struct nbdsvc_source **"), ffi.new("struct nbdsvc_message *")
    if format == "raw":
        result = lib.nbdsvc_source_raw_create(input, made)
    else:
        wanted = ffi.NULL if snapshot is None else os.fsencode(snapshot)
        result = lib.nbdsvc_source_qcow2_create(input, wanted, message, made)
    if result == 0:
        return made[0]
    lib.nbdsvc_input_destroy(input)
    if reason := ffi.string(message.text).decode(errors="replace"):
        raise errors.BadImage(image=name, reason=reason)
    raise errors.ReadFailed(source=name, offset=0, reason=os.strerror(-result))


def parts_of(input: Any, stored: Sequence[tuple[int, int]], name: str) -> Any:
    """A raw source over the input, of which only the (begin, end) of `stored` is read. ReadFailed for wrong ones."""
    made = ffi.new("struct nbdsvc_source **")
    ranges = ffi.new("uint64_t[]", [edge for part in stored for edge in part])
    result = lib.nbdsvc_source_parts_create(input, ranges, len(stored), made)
    if result == 0:
        return made[0]
    lib.nbdsvc_input_destroy(input)
    raise errors.ReadFailed(source=name, offset=0, reason=os.strerror(-result))


def patiently(call: Callable[[], int]) -> int:
    """Make a call of the core that may wait long for a server, so that a signal ends the wait, as in Python's reads."""
    if threading.current_thread() is not threading.main_thread():
        return call()  # Python delivers signals to the main thread only
    results: list[int] = []
    worker = threading.Thread(target=lambda: results.append(call()), name="connect", daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(_TICK_SECONDS)
    return results[0]


def reason_of(message: Any, result: int) -> str:
    """The core's message, or the text of the error number when there is none."""
    return ffi.string(message.text).decode(errors="replace") or os.strerror(-result)


def shown_uri(uri: str) -> str:
    """The URI as it may appear in messages: without user, password and parameters, which may be secrets."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # for example, an unclosed bracket in the address
        return f"{uri.partition(':')[0]}://..."
    socket = dict(parse_qsl(parts.query)).get("socket", "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{f'?socket={socket}' if socket else ''}"


def error_of(
    result: int, side: int, offset: int, reason: str, source: str, destination: str, journal: str = "the journal"
) -> errors.Error:
    """The error for a failed copy. side: READ, WRITE or JOURNAL; offset: bytes."""
    number = -result
    reason = reason or os.strerror(number)
    if side == JOURNAL:
        return errors.WriteFailed(destination=journal, offset=0, reason=reason)
    if side == READ and number in _BAD:
        return errors.BadImage(image=source, reason=f"{reason} (at byte {offset} of the volume)")
    if side == READ:
        return errors.ReadFailed(source=source, offset=offset, reason=reason)
    if number in _FULL:
        return errors.OutOfSpace(pool=destination, requested=None, free=None, reason=f"{reason} at byte {offset}")
    return errors.WriteFailed(destination=destination, offset=offset, reason=reason)
