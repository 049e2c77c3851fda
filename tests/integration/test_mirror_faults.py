"""The mirror in the server of an NBD export where a place, or the disk of the record, does not answer, and beyond the end."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbd
import pytest
from exporting import SIZE, Exports
from mirroring import await_state, content, destination, filled_exports, writers, written
from pools import mounted
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB


@pytest.fixture
def exports() -> Iterator[Exports]:
    with filled_exports(1) as made:
        yield made


def test_a_write_beyond_the_end_is_refused_and_the_mirror_goes_on(exports: Exports) -> None:
    """By a client of the name without a limit, which only the server knows the size for: nothing is changed at either place."""
    spec, uri = exports.up()
    path = destination(exports)
    client = nbd.NBD()
    client.connect_uri(
        f"{uri.replace(names.export_name(spec.volume_id), names.growing_name(names.export_name(spec.volume_id)))}"
    )
    client_of_all = [
        lambda at: client.pwrite(bytes(4096), at),
        lambda at: client.zero(4096, at),
        lambda at: client.trim(4096, at),
    ]
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    for change in client_of_all:
        for at in (SIZE - 100, SIZE, 1 << 50):
            with pytest.raises(nbd.Error):
                change(at)
    assert exports.exporter.mirror_state(spec.id).state == "synchronised"
    client.pwrite(b"within", SIZE - 6)
    assert content(path) == content(exports.path)
    assert path.stat().st_size == SIZE


@pytest.fixture
def frozen(short_folder: Path) -> Iterator["Freezable"]:
    """A file system whose writes can be made to hang."""
    for folder in mounted(short_folder, "ext4"):
        made = Freezable(folder)
        try:
            yield made
        finally:
            made.thaw()


class Freezable:
    """freeze: what writes there hangs, as on a disk that does not answer, until thaw."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_frozen = False

    def freeze(self) -> None:
        subprocess.run(["fsfreeze", "--freeze", str(self.folder)], check=True)
        self._is_frozen = True

    def thaw(self) -> None:
        if self._is_frozen:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.folder)], check=True)
        self._is_frozen = False


def test_a_destination_that_hangs_is_left_by_a_cancel_at_once(frozen: Freezable, exports: Exports) -> None:
    """What hangs there already waits; whatever comes after the cancel goes to the source alone, also to the same bytes. The
    cancel ends when the destination answers again.
    """
    spec, uri = exports.up()
    path = destination_in(frozen.folder)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    stuck, free = nbd.NBD(), nbd.NBD()
    for client in (stuck, free):
        client.connect_uri(uri)
    keeper, servers = exports.pid(spec), processes.serving(exports.folder / "e")
    frozen.freeze()
    with ThreadPoolExecutor(2) as pool:
        try:
            hanging = pool.submit(stuck.pwrite, b"a" * 4096, 0)
            wait_until(lambda: content(exports.path)[:1] == b"a", 10)
            waiting = pool.submit(free.pwrite, b"b" * 4096, 0)
            with pytest.raises(errors.ExportFailed, match="did not end in time"):
                exports.exporter.end_mirror(spec.id, spec.location)
            waiting.result(10)
            pool.submit(free.pwrite, b"c" * 4096, MiB).result(10)
            assert not hanging.done()
            assert exports.exporter.mirror_state(spec.id).state == "failed"
        finally:
            frozen.thaw()
        hanging.result(30)
    assert exports.exporter.end_mirror(spec.id, spec.location) is None
    assert exports.exporter.mirror_state(spec.id).state == "none"
    assert (exports.pid(spec), processes.serving(exports.folder / "e")) == (keeper, servers)
    assert free.pread(4096, MiB) == b"c" * 4096 == content(exports.path)[MiB : MiB + 4096]


def test_the_mirror_of_a_server_that_was_just_killed_is_ended_without_an_end_of_service(exports: Exports) -> None:
    """Who connects at once is served by the server that is started in its place, and does not wait for a repair."""
    for _ in range(5):
        spec, uri = exports.up()
        exports.exporter.start_mirror(spec.id, Location.file(destination(exports)), is_zero=True)
        keeper = exports.pid(spec)
        for pid in processes.serving(exports.folder / "e")[spec.id] - {keeper}:
            os.kill(pid, signal.SIGKILL)
        assert exports.exporter.end_mirror(spec.id, spec.location) is None
        client = nbd.NBD()
        client.connect_uri(uri)
        assert client.pread(4096, 0) == content(exports.path)[:4096]
        assert exports.pid(spec) == keeper
        exports.exporter.remove(spec.id)


def destination_in(folder: Path) -> Path:
    path = folder / "destination"
    path.touch()
    os.truncate(path, SIZE)
    return path


def test_requests_go_on_while_the_disk_of_the_record_hangs(frozen: Freezable, exports: Exports) -> None:
    """Longer than requests are held for a switch, and than the service waits: the server is not killed, what is answered
    meanwhile is at both places, and the switch ends when the record is certain.
    """
    exports.exporter = NbdExporter(frozen.folder / "e", "me", "127.0.0.1", (22810, 22860))
    spec, uri = exports.up()
    path, running = destination(exports), writers(uri)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    keeper = exports.pid(spec)
    frozen.freeze()
    try:
        with pytest.raises(errors.ExportFailed, match="record of its switch is being written"):
            exports.exporter._command(spec.id, do="switch", seconds=4)
        with pytest.raises(errors.ExportFailed, match="record of its switch is being written"):
            exports.exporter.end_mirror(spec.id, spec.location)
        before = [writer.changes for writer in running]
        wait_until(lambda: all(w.changes > old + 20 for w, old in zip(running, before, strict=True)), 10)
        assert exports.exporter.mirror_state(spec.id).state == "synchronised"
    finally:
        frozen.thaw()
    wait_until(lambda: exports.exporter.mirror_state(spec.id).state == "none", 30)
    assert exports.pid(spec) == keeper
    assert exports.exporter.end_mirror(spec.id, spec.location) == Location.file(path)
    for writer in running:
        writer.stop()
    assert exports.exporter.moved_to(spec.id, spec.location) == Location.file(path)
    assert all(written(path, writer) for writer in running)
    assert not all(written(exports.path, writer) for writer in running) or content(path) == content(exports.path)
    print(f"worst request: {max(writer.worst for writer in running) * 1000:.1f} ms")


@pytest.fixture
def small(short_folder: Path) -> Iterator[Path]:
    """A file system of 8 MiB, on a path that is short enough for sockets."""
    folder = short_folder / "s"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_record_that_cannot_be_written_leaves_the_source(small: Path, exports: Exports) -> None:
    """On a full disk: the switch is refused, clients go on, and a destination that fails later is no error of theirs."""
    exports.exporter = NbdExporter(small / "e", "me", "127.0.0.1", (22810, 22860))
    spec, uri = exports.up()
    path, running = destination(exports), writers(uri)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    with pytest.raises(OSError, match="No space"), (small / "filler").open("wb") as filler:
        filler.write(bytes(16 * MiB))
    with pytest.raises(errors.ExportFailed, match="No space"):
        exports.exporter.switch_mirror(spec.id)
    count = running[0].changes
    wait_until(lambda: running[0].changes > count + 20, 30)
    assert exports.exporter.mirror_state(spec.id).state == "synchronised"
    (small / "filler").unlink()
    exports.exporter.switch_mirror(spec.id)
    for writer in running:
        writer.stop()
    assert all(written(path, writer) for writer in running)
