"""How the program ends: by signals as with an error, so that nothing half-done stays; and what the exit status says."""

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from nbdsvc import errors

# BSD's EX_SOFTWARE of sysexits.h: the program itself is wrong.
_BUG = 70
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_REPORT = "this is a bug of nbdsvc, please report it with this line"
_STATUSES = (
    (errors.NotFound, 3),
    (errors.BackendUnavailable, 5),
    (errors.RequestError, 4),
    (errors.ConfigError, 2),
    (errors.InternalError, _BUG),
)


class Ended(BaseException):
    """A signal wants the end. No error, so that nobody takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def listen() -> None:
    """From now on TERM, HUP and INT raise Ended. A signal that is ignored, as nohup and background shells do, stays so."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:  # a second one would interrupt the clearing up
        if signal.getsignal(other) is not signal.SIG_IGN:
            signal.signal(other, lambda *_: None)
    raise Ended(number)


def status_of(error: BaseException) -> int:
    """Say what went wrong in one line, if there is something to say; the exit status for it."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, Ended):
        return 128 + error.number
    say(_words(error))
    return exit_status(error) if isinstance(error, errors.Error) else 1 if isinstance(error, _OF_THE_HOST) else _BUG


def say(text: str) -> None:
    """A line on stderr, if anybody can still be told."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"nbdsvc: {text}", err=True)


# What the host lacks: files, descriptors, memory. Verbs say more where they can; this is what they did not think of.
_OF_THE_HOST = (OSError, MemoryError)


def _words(error: BaseException) -> str:
    if isinstance(error, errors.InternalError):
        return f"{error}; {_REPORT}"
    if isinstance(error, errors.Error):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, OSError):
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{name}{error.strerror or error or type(error).__name__}"
    return f"{type(error).__name__}{_place_of(error)}: {' '.join(str(error).split())}; {_REPORT}"


def _place_of(error: BaseException) -> str:
    """Without the module for it: what went wrong may be that no file can be opened."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""


def exit_status(error: errors.Error) -> int:
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 1)


def leave(status: int) -> NoReturn:
    """End at once after a signal: threads that wait for a server that says nothing are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)
