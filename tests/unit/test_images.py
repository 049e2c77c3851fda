"""Inspection of untrusted images, the image folder, and http sources."""

import http.server
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.images.http.access import Access
from nbdsvc.images.image_store import Image, ImageFolder
from nbdsvc.images.inspection import inspect
from nbdsvc.images.resolve import Images
from nbdsvc.images.spool import Spool
from nbdsvc.location import Location
from nbdsvc.model import names


def qcow2(path: Path, *options: str, size: str = "64M") -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size], check=True)
    return path


def patched(path: Path, offset: int, value: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    return path


def judge(path: Path, declared: str | None = None) -> str:
    """The format, or the refusal's words."""
    content = path.read_bytes()
    try:
        return inspect(lambda at, length: content[at : at + length], len(content), path.name, declared).format
    except errors.BadImage as error:
        return str(error)


HOSTILE = {
    "backing file": lambda p: qcow2(p, "-u", "-b", "/etc/shadow", "-F", "raw"),
    "external data file": lambda p: qcow2(p, "-o", f"data_file={p}.data,data_file_raw=on"),
    "unknown incompatible": lambda p: patched(qcow2(p), 72, struct.pack(">Q", 1 << 40)),
    "corrupt": lambda p: patched(qcow2(p), 72, struct.pack(">Q", 2)),
    "encrypted": lambda p: patched(qcow2(p), 32, struct.pack(">I", 2)),
    "L1 table has": lambda p: patched(qcow2(p), 36, struct.pack(">I", 1 << 30)),
    "too small for its virtual size": lambda p: patched(qcow2(p), 24, struct.pack(">Q", 1 << 50)),
    "absurd": lambda p: patched(qcow2(p), 24, struct.pack(">Q", (1 << 64) - 1)),
    "version is 7": lambda p: patched(qcow2(p), 4, struct.pack(">I", 7)),
    "cluster bits are 40": lambda p: patched(qcow2(p), 20, struct.pack(">I", 40)),
    "not within the file": lambda p: patched(qcow2(p), 40, struct.pack(">Q", 1 << 40)),
    "several formats": lambda p: patched(qcow2(p), 510, b"\x55\xaa"),
    "too short": lambda p: p.write_bytes(b"QFI\xfb\0\0\0\3") and p,
    "empty": lambda p: p.write_bytes(b"") or p,
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_hostile_images_are_refused_with_the_reason(tmp_path: Path, reason: str) -> None:
    """Each image that could do harm is refused with a reason before any tool opens it."""
    assert reason in judge(HOSTILE[reason](tmp_path / "image"))


@pytest.mark.parametrize("kind", ["qed", "luks"])
def test_other_formats_are_named_and_refused(tmp_path: Path, kind: str) -> None:
    """A format that is not read is named in the refusal; a container of raw bytes is raw."""
    if kind == "luks":
        (tmp_path / "image").write_bytes(b"LUKS\xba\xbe" + bytes(4096))
        assert judge(tmp_path / "image") == "raw"
        return
    (tmp_path / "image").write_bytes(b"QED\0" + bytes(4096))
    assert "not supported" in judge(tmp_path / "image")


def test_declared_format_must_be_the_detected_one(tmp_path: Path) -> None:
    """A qcow2 that is declared raw is the second half of a known attack: refused; so is the reverse."""
    image = qcow2(tmp_path / "image")
    assert judge(image, "qcow2") == judge(image) == "qcow2"
    assert "declared as raw" in judge(image, "raw")
    image.write_bytes(bytes(4096))
    assert "declared as qcow2" in judge(image, "qcow2")


def test_image_folder(tmp_path: Path) -> None:
    """An image appears when it is complete, is found by id and name, and is removed by its maker only."""
    folder = ImageFolder(tmp_path)
    image = Image(names.new_id(), "made", "raw", owner="op")
    folder.begin(image).write_bytes(b"x" * 512)
    assert folder.list() == []
    folder.commit(image)
    (tmp_path / "dropped.qcow2").touch()
    assert sorted(found.name for found in folder.list()) == ["dropped.qcow2", "made"]
    assert folder.get("made").size == 512
    assert folder.get(folder.get("dropped.qcow2").id).disk_format == "qcow2"
    folder.remove(image.id, "another project")
    assert folder.get(image.id)
    folder.remove(image.id, "op")
    with pytest.raises(errors.NotFound):
        folder.get(image.id)


def test_a_name_makes_no_image_one_of_the_administrators(tmp_path: Path) -> None:
    """An image that is called as its data are: it stays its project's to remove, and its data are never read by a link."""
    folder, id = ImageFolder(tmp_path), names.new_id()
    image = Image(id, f"{id}.data", "raw", owner="op", project_id="p")
    folder.begin(image).write_bytes(b"x" * 512)
    folder.commit(image)
    (found,) = folder.list()
    assert not found.is_dropped
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / f"{id}.data").unlink()
    (tmp_path / f"{id}.data").symlink_to("secret")
    with pytest.raises(errors.NotFound):
        folder.open(found)


def test_paths_outside_what_is_allowed_are_refused(tmp_path: Path) -> None:
    """Neither a path elsewhere, nor one by .., nor a link out of an allowed folder is opened."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "ok.raw").write_bytes(bytes(512))
    (tmp_path / "secret").write_bytes(bytes(512))
    (allowed / "link").symlink_to(tmp_path / "secret")
    images = Images(ImageFolder(tmp_path / "i"), [allowed])
    images.open(f"file://{allowed}/ok.raw").source.close()
    for path in (tmp_path / "secret", allowed / ".." / "secret", allowed / "link"):
        with pytest.raises(errors.InvalidInput, match="not below"):
            images.open(str(path))


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file; how honestly is up to the server's attributes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content, mode = self.server.content, self.server.mode  # type: ignore[attr-defined]
        wanted = self.headers.get("Range")
        if wanted and mode != "no ranges":
            first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
            body = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            tag = f'"{self.server.changes}"' if mode == "changes" else '"1"'  # type: ignore[attr-defined]
            self.server.changes += 1  # type: ignore[attr-defined]
            self.send_header("ETag", tag)
        else:
            body = content
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (1000 if mode == "lies" and len(body) > 1 else 0)))
        self.end_headers()
        self.wfile.write(body)
        if mode == "lies":
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def web() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.mode, server.changes = "honest", 0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def fetch(web: http.server.ThreadingHTTPServer, tmp_path: Path, room: int = 1 << 30) -> bytes:
    images = Images(ImageFolder(tmp_path), http=Access(), spool=Spool(tmp_path / "spool", room, "image_spool"))
    opened = images.open(f"http://user:secret@127.0.0.1:{web.server_port}/image?key=secret")
    from nbdsvc.datapath.copy import copy

    target = tmp_path / "target"
    target.touch()
    with opened.source:
        copy(opened.source, Location.file(target), destination_is_zero=True)
    return target.read_bytes()[: opened.facts.virtual_size]


@pytest.mark.parametrize("mode", ["honest", "no ranges"])
def test_images_by_http_are_read_in_place(web: http.server.ThreadingHTTPServer, tmp_path: Path, mode: str) -> None:
    """Raw with and without ranges, qcow2 with them; without them a qcow2 needs the spool."""
    import os

    noise = os.urandom(9 << 20)
    web.mode, web.content = mode, noise  # type: ignore[attr-defined]
    assert fetch(web, tmp_path) == noise
    raw = tmp_path / "raw"
    raw.write_bytes(noise)
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(tmp_path / "q")], check=True)
    web.content = (tmp_path / "q").read_bytes()  # type: ignore[attr-defined]
    if mode == "honest":
        (tmp_path / "target").unlink()
        assert fetch(web, tmp_path) == noise
    else:
        with pytest.raises(errors.BadImage, match="image_spool allows no room"):
            fetch(web, tmp_path, 0)
        (tmp_path / "target").unlink()
        assert fetch(web, tmp_path) == noise


@pytest.mark.parametrize("mode", ["lies", "changes"])
def test_dishonest_servers_are_errors(web: http.server.ThreadingHTTPServer, tmp_path: Path, mode: str) -> None:
    """A server that lies about lengths or changes the file underneath: ReadFailed, without the URL's secrets."""
    web.mode, web.content = mode, b"x" * (9 << 20)  # type: ignore[attr-defined]
    with pytest.raises(errors.ReadFailed) as caught:
        fetch(web, tmp_path)
    assert "secret" not in str(caught.value)


def test_files_may_come_and_go_while_images_are_listed(tmp_path: Path) -> None:
    """An administrator drops and removes images at any time; whoever lists or asks for another one sees no error."""
    folder, ended = ImageFolder(tmp_path), threading.Event()
    (tmp_path / "stays.raw").write_bytes(b"x")
    image = Image(id=names.new_id(), name="made", disk_format="raw")

    def busy() -> None:
        while not ended.is_set():
            (tmp_path / "dropped.raw").write_bytes(b"x")
            folder.begin(image).write_bytes(b"x")
            folder.commit(image)
            (tmp_path / "dropped.raw").unlink()
            folder.remove(image.id)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        # At least until the other thread has had its turn, which on a busy machine may take a while.
        seen, end = [len(folder.list()) for _ in range(600)], time.monotonic() + 30
        while len(set(seen)) == 1 and time.monotonic() < end:
            seen.append(len(folder.list()))
        assert folder.get("stays.raw").size == 1
    finally:
        ended.set()
        thread.join()
    assert set(seen) <= {1, 2, 3}
    assert len(set(seen)) > 1
