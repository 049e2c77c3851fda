"""The export itself: a script for nbdkit's Python plugin (API version 2), control in Python and bytes in the C core.

It runs in nbdkit's own interpreter, which has no virtual environment: the launcher sets PYTHONPATH. It imports nothing
but nbdkit, the core, door.py, control.py, limits.py, moved.py and redirect.py. Each callback ends in one C call that
releases the GIL; the thread state of nbdkit's worker threads is pinned (native/serve/thread_state.c), which is what makes
that fast.
"""

import contextlib
import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import nbdkit

from nbdsvc._native import ffi, lib
from nbdsvc.exports.nbd import limits, moved, redirect
from nbdsvc.exports.nbd.control import Control, ServedVolume
from nbdsvc.exports.nbd.door import Door

API_VERSION = 2
READ_ONLY, WRITE_THROUGH = 1, 2
FUA, MAY_TRIM, FAST = 1, 2, 4
# Bytes of the largest request that is advertised: larger ones are not faster, and each thread holds one (launch.py).
MAXIMUM_BLOCK = 4 << 20

# The size in bytes that a client of `growing_name` gets: larger than any volume; nbdkit has signed 64-bit sizes.
UNBOUND = 1 << 62

_spec: dict[str, Any] = {}
_door = Door()
_shared: dict[str, Any] = {}
_readers: set[Any] = set()
# The lock of the two above and of the volume's location: a switch to another place changes all of them.
_sharing = threading.RLock()
# Looked up once, because every request calls them.
_pread, _pwrite, _from_buffer = lib.nbdsvc_client_pread, lib.nbdsvc_client_pwrite, ffi.from_buffer
_FUA_FLAG = nbdkit.FLAG_FUA


class Handle:
    """The volume of one connection. Writers share one open volume, so that each learns of a lost write
    (native/serve/durable.c), and so that all writes go through its mirror.
    """

    def __init__(self, readonly: bool, growing: bool) -> None:
        self.growing = growing
        self.readonly = readonly or _spec["read_only"]
        self.served = ffi.NULL if self.readonly else _served()
        self.vol = _new_reader() if self.readonly else _shared["vol"]
        made = ffi.new("struct nbdsvc_client **")
        _check(lib.nbdsvc_client_create(_shared["limits"], self.vol, self.served, made))
        self.client = made[0]


def _open_vol(path: str, flags: int) -> Any:
    made = ffi.new("struct nbdsvc_vol **")
    _check(lib.nbdsvc_vol_create(path.encode(), flags, made))
    return made[0]


def _path() -> str:
    """The path of the file or block device. The keeping shell of an older service passes a spec with `path`."""
    return str(_spec["location"]["address"] if "location" in _spec else _spec["path"])


def _new_reader() -> Any:
    with _sharing:
        reader = _open_vol(_path(), READ_ONLY)
        _readers.add(reader)
        return reader


def _served() -> Any:
    """The writers' volume. It stays open, because the kernel reports a write error only to files open at the time."""
    with _sharing:
        if "served" not in _shared:
            made = ffi.new("struct nbdsvc_served **")
            vol = _open_vol(_path(), _writers_flags())
            _check(lib.nbdsvc_served_create(vol, made))
            _shared.update(vol=vol, served=made[0])
            if _lost_mark().exists():
                lib.nbdsvc_vol_set_lost(vol)
        return _shared["served"]


def _writers_flags() -> int:
    return READ_ONLY if _spec["read_only"] else WRITE_THROUGH if _spec["write_through"] else 0


def _open_for_control(path: str, readonly: bool) -> Any:
    """Open the volume for the control channel, as a writer unless `readonly`. Raises OSError."""
    made = ffi.new("struct nbdsvc_vol **")
    result = lib.nbdsvc_vol_create(path.encode(), READ_ONLY if readonly else _writers_flags() & ~READ_ONLY, made)
    if result < 0:
        raise OSError(-result, os.strerror(-result), path)
    return made[0]


def _lost_mark() -> Path:
    """The file that records a lost write, so that later servers of the attachment also fail flushes."""
    return Path(_spec["folder"]) / "lost"


def _check_durable(h: Handle, result: int) -> None:
    """Raise the error of a failed request that needs stable storage; record a lost write for later servers."""
    if result < 0 and lib.nbdsvc_vol_has_lost(h.vol):
        _lost_mark().touch()
    _check(result)


def _check(result: int) -> None:
    if result < 0:
        nbdkit.set_error(-result)
        raise OSError(-result, errno.errorcode.get(-result, "error"))


def _flags(flags: int) -> int:
    return (
        (FUA if flags & nbdkit.FLAG_FUA else 0)
        | (MAY_TRIM if flags & nbdkit.FLAG_MAY_TRIM else 0)
        | (FAST if flags & nbdkit.FLAG_FAST_ZERO else 0)
    )


def config(key: str, value: str) -> None:
    if key != "spec":
        raise ValueError(f"unknown parameter {key}")
    folder = Path(value).parent
    _spec.update(_read(Path(value)), folder=str(folder))
    if redirect.is_redirect(_spec.get("location", {})):
        _redirect(Path(value))


def _read(path: Path) -> dict[str, Any]:
    """The spec, with the volume's present place."""
    found = dict(json.loads(path.read_text(encoding="utf-8")))
    if "location" in found:
        found["location"] = moved.location_of(path.parent, found["location"])
    return found


def _redirect(path: Path) -> None:
    """Say that the volume is elsewhere, until a command that it is here. nbdkit looks each callback up when it calls it."""

    def serve() -> None:
        _spec.update(_read(path))
        if redirect.is_redirect(_spec["location"]):
            raise ValueError(f"the volume is at {_spec['location']['address']}")
        globals().update(here)
        begin()

    elsewhere = redirect.callbacks(_spec, nbdkit, _door, serve)
    here = {name: globals()[name] for name in elsewhere}
    globals().update(elsewhere)


def config_complete() -> None:
    if not _spec:
        raise ValueError("the parameter spec is missing")


def after_fork() -> None:
    """Called on nbdkit's main thread before nbdkit accepts connections."""
    lib.nbdsvc_die_with_parent()
    begin()


def begin() -> None:
    """Not called by nbdkit. Prepare to serve the volume."""
    folder = Path(_spec["folder"])
    _shared["limits"] = limits.created(folder.parent, _spec.get("volume_id", folder.name))
    limits.set_limits(_shared["limits"], limits.read(folder))
    Control(_spec, ServedVolume(_served, _open_for_control, _readers, _sharing, _shared["limits"])).listen()


def thread_model() -> int:
    return int(nbdkit.THREAD_MODEL_PARALLEL)


def list_exports(readonly: int, is_tls: int) -> list[tuple[str, str]]:
    return [(_spec["name"], _spec["description"])]


def default_export(readonly: int, is_tls: int) -> str:
    return str(_spec["name"])


def preconnect(readonly: int) -> None:
    _door.arrive()


def open(readonly: int) -> Handle:
    lib.nbdsvc_pin_thread()
    _door.enter()
    name = nbdkit.export_name()
    if name not in ("", _spec["name"], _spec["growing_name"]):
        _check(-errno.ENOENT)
    return Handle(bool(readonly), name == _spec["growing_name"])


def close(h: Handle) -> None:
    # NBD_OPT_INFO opens and closes the export before the handshake continues.
    with contextlib.suppress(PermissionError):
        _door.arrive()
    if not isinstance(h, Handle):  # of a redirect, which has ended meanwhile
        return
    lib.nbdsvc_client_destroy(h.client)
    if h.readonly:
        with _sharing:
            _readers.discard(h.vol)
        lib.nbdsvc_vol_destroy(h.vol)


def export_description(h: Handle) -> str:
    return str(_spec["description"])


def get_size(h: Handle) -> int:
    if h.growing:
        return UNBOUND
    size = lib.nbdsvc_vol_size(h.vol)
    _check(size)
    return int(size)


def block_size(h: Handle) -> tuple[int, int, int]:
    return (1, 4096, MAXIMUM_BLOCK)


def is_rotational(h: Handle) -> bool:
    return bool(lib.nbdsvc_vol_is_rotational(h.vol))


def can_write(h: Handle) -> bool:
    return not h.readonly


def can_flush(h: Handle) -> bool:
    return True


def can_fua(h: Handle) -> int:
    return int(nbdkit.FUA_NATIVE)


def can_zero(h: Handle) -> bool:
    return not h.readonly


def can_fast_zero(h: Handle) -> bool:
    return not h.readonly


def can_trim(h: Handle) -> bool:
    return bool(lib.nbdsvc_vol_can_punch(h.vol))


def can_extents(h: Handle) -> bool:
    return True


def can_cache(h: Handle) -> int:
    return int(nbdkit.CACHE_NATIVE)


def can_multi_conn(h: Handle) -> bool:
    # All connections, also those of other exports of the volume, share one page cache, and a flush is an fdatasync of
    # the file. Connections of this export also share the open file, so that none of them misses a write error.
    return True


def pread(h: Handle, buf: Any, offset: int, flags: int) -> None:
    result = _pread(h.client, _from_buffer(buf), len(buf), offset)
    if result:
        _check(result)


def pwrite(h: Handle, buf: Any, offset: int, flags: int) -> None:
    result = _pwrite(h.client, _from_buffer(buf), len(buf), offset, FUA if flags & _FUA_FLAG else 0)
    if result:
        _check_durable(h, result)


def zero(h: Handle, count: int, offset: int, flags: int) -> None:
    _check_durable(h, lib.nbdsvc_client_zero(h.client, count, offset, _flags(flags)))


def trim(h: Handle, count: int, offset: int, flags: int) -> None:
    _check_durable(h, lib.nbdsvc_client_trim(h.client, count, offset, _flags(flags)))


def flush(h: Handle, flags: int) -> None:
    lib.nbdsvc_pin_thread()
    _check_durable(h, lib.nbdsvc_vol_flush(h.vol) if h.readonly else lib.nbdsvc_served_flush(h.served))


def cache(h: Handle, count: int, offset: int, flags: int) -> None:
    lib.nbdsvc_pin_thread()
    _check(lib.nbdsvc_client_cache(h.client, count, offset))


def extents(h: Handle, count: int, offset: int, flags: int) -> list[tuple[int, int, int]]:
    lib.nbdsvc_pin_thread()
    length, hole = ffi.new("uint64_t *"), ffi.new("int *")
    found: list[tuple[int, int, int]] = []
    end = offset + count
    while offset < end:
        _check(lib.nbdsvc_vol_extent(h.vol, end - offset, offset, length, hole))
        found.append((offset, int(length[0]), nbdkit.EXTENT_HOLE | nbdkit.EXTENT_ZERO if hole[0] else 0))
        offset += int(length[0])
        if flags & nbdkit.FLAG_REQ_ONE:
            break
    return found
