"""Files that are whole or not there, on small file systems and while others read them."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.pool import MARKER, PoolFolder
from nbdsvc import atomic_file, errors
from nbdsvc.connectors.attachment_store import Attached, AttachmentStore
from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.lio import state_dir as lio
from nbdsvc.exports.nbd import state_dir as nbd
from nbdsvc.images.image_store import Image, ImageFolder
from nbdsvc.location import Location

ID = "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01"
OLD, NEW = "old", "n" * 30_000


@pytest.fixture
def small() -> Iterator[Path]:
    """A file system of 64 KiB."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all that is left; its path."""
    path = folder / "filler"
    with pytest.raises(OSError, match="No space"), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def _lio_note(folder: Path, text: str) -> None:
    access = Access(network=True, needs_secret=True, initiators=("iqn.2026-11.org.example:one",))
    lio.StateDir(folder).write(ExportSpec(ID, ID, Location.file(Path(f"/{text}")), access, secret="5a" * 32))


def _nbd_note(folder: Path, text: str) -> None:
    nbd.StateDir(folder, ID).write({"path": text}, "5a" * 32)


def _attached(folder: Path, text: str) -> None:
    AttachmentStore(folder).write(Attached(ID, ID, f"/dev/{text}", "k"))


def _image(folder: Path, text: str) -> None:
    ImageFolder(folder).begin(Image(ID, text))


@pytest.mark.parametrize("write", [_lio_note, _nbd_note, _attached, _image])
def test_a_full_disk_leaves_the_old_file(small: Path, write: Callable[[Path, str], None]) -> None:
    """Each file that is replaced as a whole keeps its content when there is no room, is private, and leaves nothing beside it."""
    write(small, OLD)
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}
    filler = fill(small)
    with pytest.raises(OSError, match="No space"):
        write(small, NEW)
    filler.unlink()
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before
    write(small, NEW)
    assert before != {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}


def test_a_pool_without_room_gets_no_empty_marker(small: Path) -> None:
    """A folder of which only a part of the marker could be written is not taken for a pool afterwards."""
    pool = PoolFolder("p" * 5000, small)  # longer than a page, so that a part of the text could be written
    filler = fill(small).rename(small / "lost+found")
    os.truncate(filler, filler.stat().st_size - 4096)
    with pytest.raises(errors.OutOfSpace):
        pool.set_up()
    assert not (small / MARKER).exists()


def test_readers_see_whole_contents_only(tmp_path: Path) -> None:
    """However often a file is replaced, who reads it finds the old content or the new."""
    path, stop = tmp_path / "file", threading.Event()
    contents = {bytes([number]) * 5000 for number in range(4)}
    atomic_file.write(path, bytes(5000), durable=False)

    def replace() -> None:
        while not stop.is_set():
            for content in contents:
                atomic_file.write(path, content, durable=False)

    writer = threading.Thread(target=replace)
    writer.start()
    seen = {path.read_bytes() for _ in range(2000)}
    stop.set()
    writer.join(60)
    assert seen <= contents


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    """A rest of an earlier write is neither followed where it is a link, nor kept with its mode or its end."""
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    (tmp_path / ".file.part").symlink_to(elsewhere)
    atomic_file.write(path, b"content")
    assert (path.read_bytes(), elsewhere.read_text(), path.is_symlink()) == (b"content", "untouched", False)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["elsewhere", "file"]
