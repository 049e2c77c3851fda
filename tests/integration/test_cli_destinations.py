"""What `nbdsvc copy` does to files that are there: journals, parts, links, devices; what is not its own stays as it is."""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import KiB, MiB
from nbdkits import nbdkit
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.cli import cli

SIZE = 8 * MiB


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").write_bytes(os.urandom(SIZE))
    return tmp_path / "raw"


def copy(*words: str | Path) -> None:
    """In this process: what goes wrong is raised."""
    cli.main(["copy", *map(str, words)], standalone_mode=False)


def started(*words: str | Path) -> "subprocess.Popen[str]":
    argv = ["env", "--default-signal=INT,HUP,TERM", sys.executable, "-m", "nbdsvc", "copy", *map(str, words)]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def interrupted(raw: Path, out: Path, journal: Path) -> None:
    """A copy with a journal that was killed after a checkpoint."""
    child = started(raw, out, "--journal", journal, "--limit", "1M")
    first = wait_until(lambda: journal.exists() and journal.read_bytes())
    wait_until(lambda: journal.read_bytes() != first)
    child.kill()
    child.communicate()


@contextlib.contextmanager
def loop_on(path: Path) -> Iterator[str]:
    made = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=True)
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def header(*, magic: bytes = b"NBDSVCJ1", size: int = SIZE, cut: int = 65) -> bytes:
    return (struct.pack("=8sQQ32sQ", magic, 4 * MiB, size, bytes(32), 0) + bytes(1))[:cut]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"important\n", "not a journal"),
        (b"", "not a journal"),
        (header(cut=20), "damaged"),
        (header(cut=64), "damaged"),
        (header() + b"more", "damaged"),
        (header(magic=b"NBDSVCJ2"), "another version"),
        (header(), "another copy"),
        (header(size=SIZE + 512), "another copy"),
    ],
)
def test_a_file_that_is_no_journal_of_this_copy_is_untouched(
    tmp_path: Path, raw: Path, content: bytes, said: str
) -> None:
    """Somebody's file, a damaged journal, one of another version or copy: refused by name, and the file stays."""
    notes = tmp_path / "notes.txt"
    notes.write_bytes(content)
    with pytest.raises(errors.Conflict, match=said):
        copy(raw, tmp_path / "out", "--journal", notes)
    assert notes.read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "notes.txt"}


def test_a_journal_has_a_name_of_its_own(tmp_path: Path, raw: Path) -> None:
    """A folder, links, a pipe, the source and the destination are no journals, and nothing is made or lost."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(raw)
    (tmp_path / "nowhere").symlink_to(tmp_path / "not there")
    before = {path.name for path in tmp_path.iterdir()}
    for name in ("folder", "pipe", "link", "nowhere", "raw", "out", "./out", ".out.nbdsvc-part"):
        with pytest.raises(errors.Conflict, match="--journal"):
            copy(raw, tmp_path / "out", "--journal", f"{tmp_path}/{name}")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_journal_belongs_to_one_source_and_one_destination(tmp_path: Path, raw: Path) -> None:
    """With another source, another destination, or while it is used, a real journal is refused; then it still serves."""
    out, journal = tmp_path / "out", tmp_path / "journal"
    interrupted(raw, out, journal)
    kept = journal.read_bytes()
    (tmp_path / "other").write_bytes(os.urandom(SIZE))
    for words in ((tmp_path / "other", out), (raw, tmp_path / "elsewhere")):
        with pytest.raises(errors.Conflict, match="another copy"):
            copy(*words, "--journal", journal)
    holder = os.open(journal, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(errors.Conflict, match="is using it"):
        copy(raw, out, "--journal", journal)
    os.close(holder)
    assert journal.read_bytes() == kept
    copy(raw, out, "--journal", journal, "--verify")
    assert out.read_bytes() == raw.read_bytes()
    assert not journal.exists()


@pytest.mark.parametrize("loss", ["gone", "replaced", "shorter"])
def test_a_journal_whose_part_is_lost_begins_anew(tmp_path: Path, raw: Path, loss: str) -> None:
    """The part is deleted, another file stands there, or it was cut: no chunk is skipped."""
    out, journal, part = tmp_path / "out", tmp_path / "journal", tmp_path / ".out.nbdsvc-part"
    interrupted(raw, out, journal)
    if loss == "shorter":
        os.truncate(part, SIZE - 1)
    else:
        part.unlink()
    if loss == "replaced":
        part.write_bytes(b"\xee" * SIZE)
        with pytest.raises(errors.Conflict, match="in the way"):
            copy(raw, out, "--journal", journal)
        assert part.read_bytes() == b"\xee" * SIZE
        os.setxattr(part, "user.nbdsvc.part", b"1")  # the mark that a copy without a journal leaves
    copy(raw, out, "--journal", journal)
    assert out.read_bytes() == raw.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}


def test_a_strangers_part_is_untouched(tmp_path: Path, raw: Path) -> None:
    """A file, a link or a folder of the part's name is refused; a part that a killed copy left is used again."""
    part, dear = tmp_path / ".out.nbdsvc-part", tmp_path / "dear"
    dear.write_bytes(b"dear")
    for make in (lambda: part.write_bytes(b"mine"), lambda: part.symlink_to(dear), part.mkdir, lambda: os.mkfifo(part)):
        make()
        before = part.lstat()
        with pytest.raises(errors.Conflict, match="in the way"):
            copy(raw, tmp_path / "out")
        assert part.lstat().st_ino == before.st_ino
        part.rmdir() if part.is_dir() else part.unlink()
    assert dear.read_bytes() == b"dear"
    child = started(raw, tmp_path / "out", "--limit", "1M")
    wait_until(part.exists)
    child.kill()
    child.communicate()
    if part.exists() and not os.listxattr(part):  # the program was killed between the creation of the file and its mark
        part.unlink()
    copy(raw, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "dear", "out"}


def test_a_name_that_is_taken_meanwhile_stays(tmp_path: Path, raw: Path) -> None:
    """A file that another program makes under the new name during the copy is not replaced."""
    out = tmp_path / "out"
    child = started(raw, out, "--limit", "4M")
    wait_until((tmp_path / ".out.nbdsvc-part").exists)
    out.write_bytes(b"dear")
    assert (child.communicate(timeout=60)[1].count("meanwhile"), child.returncode) == (1, 4)
    assert out.read_bytes() == b"dear"
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}


def test_what_is_replaced_keeps_its_mode_owner_and_attributes(tmp_path: Path, raw: Path) -> None:
    """--force over a private file of another owner; through a link, what it leads to; another hard link keeps the old."""
    old, link, other = tmp_path / "old", tmp_path / "link", tmp_path / "other"
    old.write_bytes(b"old")
    old.chmod(0o600)
    os.chown(old, 1234, 4321)
    os.setxattr(old, "user.note", b"kept")
    link.symlink_to("old")
    os.link(old, other)
    copy(raw, link, "--force")
    found = old.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o600, 1234, 4321)
    assert (os.listxattr(old), os.getxattr(old, "user.note")) == (["user.note"], b"kept")
    assert link.is_symlink()
    assert old.read_bytes() == raw.read_bytes()
    assert other.read_bytes() == b"old"
    copy(raw, tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) & 0o077 == 0o044


def test_a_destination_that_is_the_source_or_in_use_is_refused(tmp_path: Path, raw: Path) -> None:
    """The source by its name, a link, a loop device on it; a file below a loop device; a mounted device."""
    content = raw.read_bytes()
    (tmp_path / "link").symlink_to(raw)
    os.link(raw, tmp_path / "hard")
    for name in ("raw", "link", "hard"):
        with pytest.raises(errors.Conflict, match="the source itself"):
            copy(raw, tmp_path / name, "--force")
    (tmp_path / "disk").write_bytes(bytes(32 * MiB))
    with loop_on(raw) as same, loop_on(tmp_path / "disk") as device:
        for source, destination in ((raw, same), (same, same)):
            with pytest.raises(errors.Conflict, match="the source itself"):
                copy(source, destination)
        with pytest.raises(errors.DeviceBusy, match="a loop device on it"):
            copy(raw, tmp_path / "disk", "--force")
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        (tmp_path / "mounted").mkdir()
        subprocess.run(["mount", device, tmp_path / "mounted"], check=True)
        try:
            with pytest.raises(errors.DeviceBusy, match="mounted"):
                copy(raw, device)
        finally:
            subprocess.run(["umount", tmp_path / "mounted"], check=True)
        copy(raw, device, "--verify")  # succeeds although the device is larger
    assert raw.read_bytes() == content
    with nbdkit(tmp_path, "file", raw) as (uri, _), pytest.raises(errors.Conflict, match="the source itself"):
        copy(uri, uri)


def test_what_cannot_be_a_destination_is_said(tmp_path: Path, raw: Path) -> None:
    """A character device, a folder, a socket, a dangling link, a URL, an unknown scheme: each by its cause."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "dangling").symlink_to("unknown")
    for destination, said in (
        ("/dev/null", "a character device"),
        (str(tmp_path), "a folder"),
        (f"{tmp_path}/new/", "a folder"),
        (".", "a folder"),
        ("", "is empty"),
        (f"{tmp_path}/socket", "a socket"),
        (f"{tmp_path}/dangling", "not there"),
        ("http://127.0.0.1:1/x", "not written"),
        ("s3://bucket/x", "s3:// is not supported"),
        (f"file://elsewhere{tmp_path}/x", "of this host"),
    ):
        for force in ([], ["--force"]):
            with pytest.raises(errors.RequestError, match=said):
                copy(raw, destination, *force)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "socket", "dangling"}
    assert (tmp_path / "dangling").is_symlink()


def test_sources_are_read_by_their_urls_or_refused_by_their_kind(tmp_path: Path, raw: Path) -> None:
    """file: URLs are percent-decoded, schemes have no case; a folder, a device, another host and s3: are said."""
    spaced = raw.rename(tmp_path / "with space%")
    for number, url in enumerate((f"file://{tmp_path}/with%20space%25", f"FILE://LocalHost{tmp_path}/with%20space%25")):
        copy(url, f"file:{tmp_path}/out{number}")
        assert (tmp_path / f"out{number}").read_bytes() == spaced.read_bytes()
    with nbdkit(tmp_path, "file", spaced) as (uri, _):
        copy(uri.replace("nbd+unix", "NBD+Unix"), tmp_path / "out2")
    for source, said in (
        (str(tmp_path), "it is a folder"),
        ("/dev/null", "a character device"),
        ("ftp://host/x", "ftp:// is not supported"),
        ("file://host/x", "of this host"),
        ("file:///x?y", "%3F"),
        ("file:///%00", "byte 0"),
        ("HTTP://127.0.0.1:1/x", "127.0.0.1"),
        ("nbd://[bad", "SOURCE"),
        ("nbd://127.0.0.1:99999/x", "SOURCE"),
        ("", "is empty"),
    ):
        with pytest.raises(errors.Error, match=said):
            copy(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing(tmp_path: Path, raw: Path, number: signal.Signals) -> None:
    """The part goes away and the exit status is 128 and the signal's number; with a journal the part stays."""
    child = started(raw, tmp_path / "out", "--limit", "1M")
    wait_until((tmp_path / ".out.nbdsvc-part").exists)
    child.send_signal(number)
    assert (child.communicate(timeout=60)[1], child.returncode) == ("", 128 + number)
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}
    child = started(raw, tmp_path / "out", "--limit", "1M", "--journal", tmp_path / "journal")
    wait_until((tmp_path / "journal").exists)
    child.send_signal(number)
    child.communicate(timeout=60)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "journal", ".out.nbdsvc-part"}
    copy(raw, tmp_path / "out", "--journal", tmp_path / "journal", "--verify")


def test_a_signal_ends_the_wait_for_a_server(tmp_path: Path) -> None:
    """TERM while a server accepts and says nothing ends the program at once; and whoever ignores it still does."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen(1)
        for ignore in ([], ["env", "--default-signal=HUP", "--ignore-signal=TERM"]):
            argv = [*ignore, sys.executable, "-m", "nbdsvc", "copy", f"nbd+unix:///?socket={tmp_path}/socket"]
            child = subprocess.Popen([*argv, str(tmp_path / "out")])
            connection = server.accept()[0]
            child.send_signal(signal.SIGTERM)
            if ignore:
                child.send_signal(signal.SIGHUP)
            assert child.wait(20) == 128 + (signal.SIGHUP if ignore else signal.SIGTERM)
            connection.close()


def test_output_that_nobody_reads(tmp_path: Path, raw: Path) -> None:
    """The summary goes to a pipe without a reader: 128 + SIGPIPE, no error, and the copy is there."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "nbdsvc", "copy", raw, tmp_path / "out"]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [
        (resource.RLIMIT_FSIZE, 2 * MiB, "File too large"),
        (resource.RLIMIT_NOFILE, 5, "Too many open files"),
    ],
)
def test_the_limits_of_a_process_are_said(tmp_path: Path, raw: Path, limit: int, most: int, said: str) -> None:
    """A file that may not grow, descriptors at their end: one line with the reason, no traceback, nothing left."""
    argv = [sys.executable, "-m", "nbdsvc", "copy", str(raw), str(tmp_path / "out")]
    program = (
        f"import resource, os, sys; resource.setrlimit({limit}, ({most}, {most})); os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


def test_the_journals_disk_is_full(tmp_path: Path, raw: Path) -> None:
    """The journal is blamed, with its reason, and not the destination."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(small)], check=True)
    try:
        (small / "filler").write_bytes(bytes(4 * KiB))
        with pytest.raises(errors.WriteFailed, match="the journal .* No space left"):
            copy(raw, tmp_path / "out", "--journal", small / "journal")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "small"}
