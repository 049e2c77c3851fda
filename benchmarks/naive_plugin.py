"""What one writes first with nbdkit's Python API: os.pread and os.pwrite. The peer that our plugin is measured against."""

import os

import nbdkit

API_VERSION = 2
_path = ""


def config(key: str, value: str) -> None:
    global _path  # noqa: PLW0603 - it is naive on purpose
    _path = value


def thread_model() -> int:
    return int(nbdkit.THREAD_MODEL_PARALLEL)


def open(readonly: int) -> int:
    return os.open(_path, os.O_RDWR)


def get_size(h: int) -> int:
    return os.fstat(h).st_size


def pread(h: int, buf: bytearray, offset: int, flags: int) -> None:
    buf[:] = os.pread(h, len(buf), offset)


def pwrite(h: int, buf: bytearray, offset: int, flags: int) -> None:
    os.pwrite(h, buf, offset)
