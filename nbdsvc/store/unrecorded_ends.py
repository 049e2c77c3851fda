"""Attachments whose access was ended although that could not be recorded: the database has no room, or does not answer.

They are in a file of a fixed size, allocated beforehand and written in place, so that adding one needs no room. What is in
it is not exported again, and its end is recorded as soon as that is possible.
"""

import json
import os
import threading
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

# Bytes of the file: room for about seven hundred ends; more are kept in memory only.
SIZE = 64 << 10


class UnrecordedEnds:
    """Attachment -> type of the operation that ended it and is not in the database yet. path None: in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._fd = _open(path) if path else -1
        self._kinds: dict[str, str] = _load(self._fd)

    def __contains__(self, id: str) -> bool:
        return id in self._kinds

    def items(self) -> list[tuple[str, str]]:
        """(id, kind) of each."""
        return list(self._kinds.items())

    def add(self, id: str, kind: str) -> None:
        with self._lock:
            self._kinds[id] = kind
            self._save()

    def remove(self, id: str) -> None:
        with self._lock:
            if self._kinds.pop(id, None):
                self._save()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _save(self) -> None:
        content = json.dumps(self._kinds).encode()
        if self._fd < 0 or len(content) > SIZE:
            return
        try:
            os.pwrite(self._fd, content.ljust(SIZE), 0)
            os.fdatasync(self._fd)
        except OSError as error:
            log.error("an end of access is kept in memory only", reason=str(error))


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(fd).st_size < SIZE:
            os.posix_fallocate(fd, 0, SIZE)
    except OSError as error:
        log.warning("there is no room kept for ends of access", reason=str(error))
        return -1
    return fd


def _load(fd: int) -> dict[str, str]:
    content = os.pread(fd, SIZE, 0).strip(b" \0") if fd >= 0 else b""
    try:
        found = json.loads(content or b"{}")
    except ValueError:  # a power cut in the middle of it: the rows say what is to be exported
        return {}
    return {str(id): str(kind) for id, kind in found.items()} if isinstance(found, dict) else {}
