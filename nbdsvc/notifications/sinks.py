"""Where notifications go: a file or standard output, as lines of JSON, or a web server."""

import fcntl
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nbdsvc import errors, private_file
from nbdsvc.config import Settings
from nbdsvc.notifications.contract import Outcome, Sink

# A key that cannot be guessed from signatures.
_LEAST_SECRET = 16


def make(settings: Settings) -> Sink:
    """The sink that the settings name. ConfigError for a secret file that others may read, or that has no secret."""
    where = settings.notifications
    if where == "stdout":
        return StandardOutput()
    if where.startswith("/"):
        return LogFile(Path(where))
    from nbdsvc.notifications.webhook import Webhook  # imported here: it loads an HTTP client

    assert settings.notification_secret_file
    return Webhook(urlsplit(where), load_secret(settings.notification_secret_file), settings.notification_ca_file)


def load_secret(path: Path) -> bytes:
    """The secret in a file, without white space around it. ConfigError where others may read it, or it is short."""
    setting = "notification_secret_file"
    secret = private_file.read(setting, path).strip()
    if len(secret) < _LEAST_SECRET:
        reason = f"{path}: it must have at least {_LEAST_SECRET} characters"
        raise errors.ConfigError(setting=setting, reason=reason)
    return secret


class StandardOutput:
    """Lines of JSON on standard output."""

    def send(self, messages: list[dict[str, Any]]) -> Outcome:
        """See Sink."""
        try:
            sys.stdout.write(_lines(messages).decode())
            sys.stdout.flush()
        except OSError as error:
            return Outcome(0, str(error))
        return Outcome(len(messages))


class LogFile:
    """Lines of JSON at the end of a file of its owner's. It is opened each time, so that it can be rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, messages: list[dict[str, Any]]) -> Outcome:
        """See Sink. After an error, also on a full disk, the file has none of these messages."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self._path, flags, 0o600)
        except OSError as error:
            return Outcome(0, str(error))
        try:
            return self._append(fd, _lines(messages), len(messages))
        except OSError as error:
            return Outcome(0, str(error))
        finally:
            os.close(fd)

    def _append(self, fd: int, content: bytes, count: int) -> Outcome:
        fcntl.flock(fd, fcntl.LOCK_EX)  # what another host's process appends must not be cut off with a line of ours
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Outcome(0, f"{self._path} is no file")
        try:
            if os.write(fd, content) == len(content):
                os.fdatasync(fd)
                return Outcome(count)
            fault = "no room"
        except OSError as error:
            fault = str(error)
        os.ftruncate(fd, status.st_size)
        return Outcome(0, fault)


def _lines(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in messages)
