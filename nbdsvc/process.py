"""The one runner of external programs.

Programs are found once and named by absolute path; output is captured whole, in the C locale; a deadline or a cancel
ends the whole process group. Secrets are never arguments: they go to a program by file or descriptor, because argv is
in CommandFailed, in logs and in /proc for everyone to read.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from nbdsvc import errors

# Cinder's default of num_shell_tries.
DEFAULT_TRIES = 3
# Seconds between two checks for a cancel while a program runs.
POLL_SECONDS = 0.05
# Characters of a program's standard error that are stored: enough to find the cause, few enough for a row or a log
# line.
STDERR_KEPT = 2000

_PACKAGES = {
    "nbdkit": "nbdkit",
    "nbdfuse": "libnbd-bin",
    "nbdinfo": "libnbd-bin",
    "losetup": "mount",
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "bwrap": "bubblewrap",
    "prlimit": "util-linux",
    "systemd-run": "systemd",
    "fusermount3": "fuse3",
}

_lock_fds: ContextVar[tuple[int, ...]] = ContextVar("lock_fds", default=())
# A shell that holds the inherited descriptors while the program runs, because LVM closes unknown ones (lvm(8)). The
# second command keeps the shell from replacing itself by the program.
_HOLDER = ("/bin/sh", "-c", '"$@"; exit $?', "sh")


@contextmanager
def locks_held_by_children(fds: tuple[int, ...]) -> Iterator[None]:
    """Programs that this thread runs inside the block hold these descriptors, and their flocks, until the programs end.

    So while a program of a killed service runs, the next service waits for the objects that the program works on.
    """
    token = _lock_fds.set(fds)
    try:
        yield
    finally:
        _lock_fds.reset(token)


@dataclass(frozen=True)
class Completed:
    """The output of a program that has ended, as text, and its exit status."""

    stdout: str
    stderr: str
    rc: int


def resolve(program: str) -> str:
    """The absolute path of a program. Raises BackendUnavailable, which names the package, when it is not installed."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        package = _PACKAGES.get(program, program)
        raise errors.BackendUnavailable(
            backend=program, reason=f"program {program} is not installed (Debian package {package})"
        )
    return (
        os.path.realpath(found)
        if os.path.islink(found) and program == os.path.basename(os.path.realpath(found))
        else found
    )


class Runner:
    """Runs programs. A program that fails is run at most `tries` times, with n squared seconds after run n."""

    def __init__(self, tries: int = DEFAULT_TRIES, sleep: Callable[[float], None] = time.sleep) -> None:
        self._tries = tries
        self._sleep = sleep

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        tries: int | None = None,
        no_retry: Iterable[str] = (),
        pass_fds: Iterable[int] = (),
        env: Mapping[str, str] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        leaves_server: bool = False,
    ) -> Completed:
        """Run the program until it succeeds; timeout: seconds of one run.

        Raises the last CommandFailed, also at a timeout or when `should_stop` is true. A failure whose standard error
        has one of `no_retry` is not retried. leaves_server: the program starts a server, which must not inherit the
        step's locks.
        """
        command = [resolve(argv[0]), *argv[1:]]
        final = tuple(no_retry)
        last = tries or self._tries
        held = () if leaves_server else _lock_fds.get()
        for attempt in range(1, last + 1):
            try:
                return self._once(command, timeout, tuple(pass_fds), held, env or {}, should_stop)
            except errors.CommandFailed as error:
                if attempt == last or should_stop() or any(text in error.stderr for text in final):
                    raise
                self._sleep(attempt**2)
        raise errors.InternalError(reason="a runner needs at least one try")

    def _once(
        self,
        command: list[str],
        timeout: float,
        pass_fds: tuple[int, ...],
        held: tuple[int, ...],
        env: Mapping[str, str],
        should_stop: Callable[[], bool],
    ) -> Completed:
        process = subprocess.Popen(
            [*_HOLDER, *command] if held else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C", **({"LVM_SUPPRESS_FD_WARNINGS": "1"} if held else {}), **env},
            pass_fds=(*pass_fds, *held),
            start_new_session=True,
            text=True,
            errors="replace",
        )
        stdout, stderr = self._communicate(process, command, timeout, should_stop)
        if process.returncode != 0:
            raise errors.CommandFailed(argv=command, rc=process.returncode, stderr=stderr.strip()[-STDERR_KEPT:])
        return Completed(stdout, stderr, process.returncode)

    def _communicate(
        self, process: "subprocess.Popen[str]", command: list[str], timeout: float, should_stop: Callable[[], bool]
    ) -> tuple[str, str]:
        end = time.monotonic() + timeout
        while True:
            try:
                return process.communicate(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                reason = "it was cancelled" if should_stop() else f"no end within {timeout} s"
                if not should_stop() and time.monotonic() < end:
                    continue
            _kill_group(process)
            raise errors.CommandFailed(argv=command, rc=-signal.SIGKILL, stderr=reason)


def _kill_group(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()
