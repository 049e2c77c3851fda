"""Standard input, pipes and FIFOs as sources: whatever format comes, and what cannot come that way."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from images import MiB, qemu_img
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.cli import cli

SIZE = 3 * MiB + 512


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "nbdsvc", "copy", *map(str, words)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").write_bytes(os.urandom(MiB) + bytes(MiB) + os.urandom(SIZE - 2 * MiB))
    return tmp_path / "raw"


@pytest.fixture
def spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the programs."""
    (tmp_path / "spare").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spare"))
    return tmp_path / "spare"


@pytest.mark.parametrize("format", ["raw", "qcow2", "vdi"])
def test_a_pipe_is_read_like_a_file(tmp_path: Path, raw: Path, spare: Path, format: str) -> None:
    """An image of any format by standard input: its guest's bytes, holes kept, and nothing left in the temporary folder."""
    image = tmp_path / f"image.{format}"
    qemu_img("convert", "-f", "raw", "-O", format, raw, image)
    content = image.read_bytes()
    done = subprocess.run(command("-", tmp_path / "out", "--verify"), input=content, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()
    assert (tmp_path / "out").stat().st_blocks * 512 < SIZE
    assert list(spare.iterdir()) == []


def test_standard_input_that_is_a_file(tmp_path: Path, raw: Path) -> None:
    """From its beginning it is that file; from the middle, and appended to another program's, what is left of it."""
    for skip in (0, 512):
        for name in ("-", "/dev/stdin"):
            with raw.open("rb", buffering=0) as file:
                file.seek(skip)
                done = subprocess.run(
                    command(name, tmp_path / "out", "--force"), stdin=file, capture_output=True, timeout=60
                )
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "out").read_bytes() == raw.read_bytes()[skip:]


def test_fifos_and_standard_output(tmp_path: Path, raw: Path) -> None:
    """A FIFO waits for its writer; from a pipe to a pipe."""
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(raw.read_bytes()))
    writer.start()
    cli.main(["copy", str(tmp_path / "fifo"), str(tmp_path / "out")], standalone_mode=False)
    writer.join()
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()
    done = subprocess.run(command("-", "-"), input=raw.read_bytes(), capture_output=True, timeout=60)
    assert (done.returncode, done.stdout == raw.read_bytes()) == (0, True), done.stderr


def test_what_does_not_come_once_and_whole(tmp_path: Path, raw: Path) -> None:
    """--journal, a terminal, a closed input, nothing at all, a socket's path: refused by the cause, nothing made."""
    with raw.open("rb") as file:
        piped = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        words = command("-", tmp_path / "out", "--journal", tmp_path / "j")
        done = subprocess.run(words, stdin=piped.stdout, capture_output=True, text=True, timeout=60)
        assert piped.stdout
        piped.stdout.close()
        piped.wait()
    assert (done.returncode, "--journal" in done.stderr) == (4, True), done.stderr
    ours, theirs = pty.openpty()
    done = subprocess.run(command("-", tmp_path / "out"), stdin=theirs, capture_output=True, text=True, timeout=60)
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, "terminal" in done.stderr) == (4, True), done.stderr
    closed = ["sh", "-c", '"$@" <&-', "sh", *command("-", tmp_path / "out")]
    done = subprocess.run(closed, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "is closed" in done.stderr) == (4, True), done.stderr
    done = subprocess.run(command("-", tmp_path / "out"), input="", capture_output=True, text=True, timeout=60)
    assert (done.returncode, "empty" in done.stderr) == (1, True), done.stderr
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(errors.ReadFailed, match="socket"):
        server.bind(str(tmp_path / "socket"))
        cli.main(["copy", str(tmp_path / "socket"), str(tmp_path / "out")], standalone_mode=False)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "socket"}


@pytest.mark.parametrize("room", ["0", "1M"])
def test_standard_input_keeps_to_its_room(tmp_path: Path, raw: Path, spare: Path, room: str) -> None:
    """More than --spool allows is refused by that name, and nothing stays."""
    words = command("-", tmp_path / "out", "--spool", room)
    done = subprocess.run(words, input=raw.read_bytes(), capture_output=True, timeout=60)
    assert (done.returncode, b"--spool" in done.stderr) == (1, True), done.stderr
    assert list(spare.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_the_temporary_folder_is_full(tmp_path: Path, raw: Path, spare: Path) -> None:
    """It is named, with the reason, and nothing stays."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", str(spare)], check=True)
    try:
        content = raw.read_bytes()
        done = subprocess.run(command("-", tmp_path / "out"), input=content, capture_output=True, timeout=60)
        assert (done.returncode, str(spare).encode() in done.stderr, b"No space" in done.stderr) == (1, True, True), (
            done.stderr
        )
        assert list(spare.iterdir()) == []
    finally:
        subprocess.run(["umount", str(spare)], check=True)
    assert not (tmp_path / "out").exists()


def _has_open(pid: int, name: str) -> bool:
    """Whether the process has a file open whose path has this in it. A descriptor may go while it is looked at."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if name in str(link.readlink()):
                return True
    return False


def test_a_signal_while_it_comes(tmp_path: Path, spare: Path) -> None:
    """TERM while a writer says nothing more: the exit status says so, and nothing is left."""
    child = subprocess.Popen(command("-", tmp_path / "out"), stdin=subprocess.PIPE)
    assert child.stdin
    child.stdin.write(b"begun")
    child.stdin.flush()
    wait_until(lambda: _has_open(child.pid, "spare"))
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 128 + signal.SIGTERM
    child.stdin.close()
    assert list(spare.iterdir()) == []
