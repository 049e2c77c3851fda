"""The exit status of the program, its last message, and signals as exceptions, so that unfinished work is undone."""

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from nbdsvc import errors

# EX_SOFTWARE of BSD's sysexits.h: an internal error of the program.
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


class Signalled(BaseException):
    """A signal ends the program. No Exception, so that no handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def handle_signals() -> None:
    """Let TERM, HUP and INT raise Signalled from now on, but not one that is ignored (nohup, background shells)."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _SIGNALS:  # a second signal would interrupt the clean-up
        if signal.getsignal(other) is not signal.SIG_IGN:
            signal.signal(other, lambda *_: None)
    raise Signalled(number)


def status_of(error: BaseException) -> int:
    """Print the error in one line, if it has a message; returns its exit status."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, Signalled):
        return 128 + error.number
    print_error(_message(error))
    return exit_status(error) if isinstance(error, errors.Error) else 1 if isinstance(error, _OF_THE_HOST) else _BUG


def print_error(text: str) -> None:
    """Print a line on stderr, if that is still open."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"nbdsvc: {text}", err=True)


# Lacks of the host (files, descriptors, memory) for which a verb raises no error of its own.
_OF_THE_HOST = (OSError, MemoryError)


def _message(error: BaseException) -> str:
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
    """File and line of an error. Does not import traceback: the error may be that no file can be opened."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""


def exit_status(error: errors.Error) -> int:
    """The exit status of an error of ours."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 1)


def leave(status: int) -> NoReturn:
    """Exit after a signal without waiting for threads, which may wait for a server that does not reply."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)
