"""The child that reads foreign formats: qemu-nbd in a sandbox, with one image and one socket folder.

Its parsers are large and the image may be hostile, so the child gets no network, no other process, no capability, no
environment, no writable file system and bounded memory, processor time and descriptors. `argv` is the one place that
says so; the tests run their break-out attempts by it. The user namespace maps our own user, because the image may be
readable by us alone; /proc is left out, because its files trust that user.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nbdsvc import errors, process
from nbdsvc.datapath import source as sources
from nbdsvc.images.inspection import ImageFacts
from nbdsvc.images.spool import NO_SPOOL, Spool
from nbdsvc.polling import wait_until
from nbdsvc.units import GiB, MiB

IMAGE = "/image"
SOCKET_FOLDER = "/socket"
# Code, thread stacks and malloc's arenas are address space too; tables that inspection lets pass are below 64 MiB.
ADDRESS_SPACE = 2 * GiB
OPEN_FILES = 64
# A slow core inflates more than this in a second, and looks up a hundred times more that is not there.
_BYTES_PER_CPU_SECOND = 8 * MiB
_CPU_SECONDS = 60
_START_SECONDS = 20
_POLL_SECONDS = 0.02
_LAST_WORDS_SECONDS = 2
_NOBODY = "65534"
# Ends with the command, or when the other end of its standard input is closed; bwrap ends what is left with it. Not
# bwrap's --die-with-parent: killed while it makes its namespaces, it leaves a half of itself behind that waits for ever.
_LIFELINE = 'exec 3<&0; "$@" 3<&- & p=$!; { read -r _ <&3; kill -KILL $p; } & wait $p'


def argv(image: Path, folder: Path, command: Sequence[str], cpu_seconds: int = _CPU_SECONDS) -> list[str]:
    """The command in the locked-down child: it sees /usr, IMAGE read-only and the writable SOCKET_FOLDER."""
    limits = [f"--as={ADDRESS_SPACE}", f"--cpu={cpu_seconds}", f"--nofile={OPEN_FILES}", "--core=0", "--fsize=0"]
    room = "--unshare-all --unshare-user --disable-userns --new-session --clearenv --cap-drop ALL"
    system = "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --dev-bind /dev/null /dev/null"
    return [
        *(process.resolve("prlimit"), *limits, process.resolve("bwrap"), *room.split()),
        *("--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "image", *system.split()),
        *("--ro-bind", str(image), IMAGE, "--bind", str(folder), SOCKET_FOLDER, "--remount-ro", "/", "--chdir", "/"),
        *("--", *command),
    ]


def held(command: Sequence[str]) -> list[str]:
    """The command, which ends when its standard input does: a pipe whose other end the parent has."""
    return ["/usr/bin/sh", "-c", _LIFELINE, "sh", *command]


def _layers(facts: ImageFacts) -> str:
    """The format over the part of the file that inspection judged; nothing is probed."""
    if facts.is_plain:
        layers = f"driver=raw,offset={facts.offset},size={facts.virtual_size}"
        return f"{layers},file.driver=file,file.filename={IMAGE}"
    if not facts.offset:
        return f"driver={facts.format},file.driver=file,file.filename={IMAGE}"
    part = f"file.driver=raw,file.offset={facts.offset},file.size={facts.file_size}"
    return f"driver={facts.format},{part},file.file.driver=file,file.file.filename={IMAGE}"


class ConfinedSource(sources.Source):
    """The child's export; closing it ends the child. A read that failed because the child ended says why that was."""

    def __init__(self, export: sources.Source, child: "_Child", name: str) -> None:
        super().__init__(export.pointer, name)
        self.child = child

    def close(self) -> None:
        """Close the export and end the child. May be called again."""
        super().close()
        self.child.end()

    def cause(self, error: errors.Error) -> errors.Error:
        """BadImage with the child's last output where the child has ended, otherwise `error`."""
        return self.child.end_of(self.name) or error


class _Child:
    """A running qemu-nbd and its socket folder, which it holds a lock on: the folders of the dead have none."""

    def __init__(self, path: Path, facts: ImageFacts, spool: Spool) -> None:
        self.folder = spool.make_folder()
        self._held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # By the descriptor: the address of a socket has room for 107 bytes only, and a state folder may be anywhere.
        self.socket = f"/proc/self/fd/{self._held}/nbd"
        seconds = _CPU_SECONDS + (facts.file_size + facts.virtual_size // 100) // _BYTES_PER_CPU_SECOND
        serve = ["/usr/bin/qemu-nbd", "-r", "-t", "-e", str(sources.NBD_CONNECTIONS), "-k", f"{SOCKET_FOLDER}/nbd"]
        command = [*serve, "--image-opts", _layers(facts)]
        try:
            process.resolve("qemu-nbd")
            self.process, self._said, self._lifeline = _start(argv(path, self.folder, held(command), seconds))
        except BaseException:
            self._remove()
            raise

    def wait(self, name: str) -> None:
        """Return when qemu-nbd listens. BadImage with the tail of its log where it does not."""
        done = wait_until(lambda: self.process.poll() is not None or self._listens(), _START_SECONDS, _POLL_SECONDS)
        if not done or self.process.poll() is not None:
            raise self.refusal(name)

    def refusal(self, name: str) -> errors.BadImage:
        """BadImage with the last lines of the child's log, once it has ended or is about to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_LAST_WORDS_SECONDS)
        return errors.BadImage(image=name, reason=f"qemu-nbd does not open it: {self._log_tail()}")

    def end_of(self, name: str) -> errors.BadImage | None:
        """BadImage with the reason of the child's own end; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.process.wait(_LAST_WORDS_SECONDS)
            # A shell, and bwrap, report the signal that ended what they ran as 128 and its number.
            signal = -status if status < 0 else max(status - 128, 0)
            how = f"was ended by signal {signal}" if signal else f"ended with status {status}"
            return errors.BadImage(image=name, reason=f"qemu-nbd, which reads it, {how}: {self._log_tail()}")
        return None

    def _listens(self) -> bool:
        # The child may put anything into its folder: only a socket is connected to, never a link to one elsewhere.
        try:
            if not stat.S_ISSOCK(os.lstat(self.socket).st_mode):
                return False
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.socket)
        except OSError:
            return False
        return True

    def _log_tail(self) -> str:
        try:
            said = os.read(self._said, process.STDERR_KEPT)
        except BlockingIOError:
            said = b""
        return said.decode(errors="replace").strip() or "no answer"

    def end(self) -> None:
        """Let it end and reap it. Its pid namespace dies with it."""
        if self._said >= 0:
            os.close(self._lifeline)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_LAST_WORDS_SECONDS)
            self.process.kill()
            self.process.wait()
            os.close(self._said)
            self._said = -1
            self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._held)


def _start(command: list[str]) -> tuple[subprocess.Popen[bytes], int, int]:
    """The running child, where to read what it complains of, and what it lives as long as."""
    # Neither end blocks: a child that writes more than is read loses output, not time.
    said, words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    other, lifeline = os.pipe2(os.O_CLOEXEC)
    try:
        return subprocess.Popen(command, stdin=other, stdout=words, stderr=words, env={}), said, lifeline
    except BaseException:
        os.close(said)
        os.close(lifeline)
        raise
    finally:
        os.close(words)
        os.close(other)


def open_fd(fd: int, facts: ImageFacts, name: str, spool: Spool = NO_SPOOL) -> sources.Source:
    """A source over an inspected image in a foreign format; the descriptor stays the caller's. spool: whose folder it has."""
    path = Path(f"/proc/self/fd/{fd}").readlink()
    child = _Child(path, facts, spool)
    try:
        child.wait(name)
        _check_same(fd, path, name)
        try:
            export = sources.open_nbd(f"nbd+unix:///?socket={child.socket}")
        except errors.ReadFailed as error:  # the server listens before it opens the image
            raise child.refusal(name) from error
        return ConfinedSource(export, child, name)
    except BaseException:
        child.end()
        raise


def _check_same(fd: int, path: Path, name: str) -> None:
    """The child was given the path: it must still lead to the file that was inspected."""
    ours, theirs = os.fstat(fd), path.stat()
    if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino):
        raise errors.BadImage(image=name, reason="it was replaced while it was opened")
