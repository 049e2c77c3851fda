"""The mirror in the server of an NBD export: real clients write while it runs, ends, fails, is switched, is killed."""

import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbd
import pytest
from exporting import SIZE, Exports
from mirroring import await_state, content, destination, filled_exports, writers, written
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd import processes
from nbdsvc.location import Location
from nbdsvc.units import MiB

SEED = int(os.environ.get("MIRROR_SEED", "1"))
ROUNDS = int(os.environ.get("MIRROR_ROUNDS", "2"))


@pytest.fixture
def exports() -> Iterator[Exports]:
    with filled_exports(SEED) as made:
        yield made


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_both_places_are_equal_and_clients_stay_connected_through_a_switch(exports: Exports, seed: int) -> None:
    """Also where the destination held other bytes before; a reader follows to the destination as the writers do."""
    spec, uri = exports.up()
    is_zero = seed % 2 == 0
    path = destination(exports, fill=b"" if is_zero else b"old" * 7 * MiB)
    readers = nbd.NBD()
    readers.connect_uri(uri)
    running = writers(uri, seed)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=is_zero, rate=64 * MiB)
    await_state(exports, spec, "synchronised")
    for writer in running:
        writer.pause()
    wait_until(lambda: content(exports.path) == content(path), 10)
    for writer in running:
        writer.go_on()
    before = [writer.changes for writer in running]
    exports.exporter.switch_mirror(spec.id)
    assert exports.exporter.moved_to(spec.id, spec.location) == Location.file(path)
    wait_until(lambda: all(writer.changes > count + 20 for writer, count in zip(running, before, strict=True)), 30)
    for writer in running:
        writer.stop()
    assert all(written(path, writer) for writer in running)
    assert not all(written(exports.path, writer) for writer in running), "the source still changes"
    assert all(writer.is_in(readers.pread) for writer in running)
    print(f"worst request: {max(writer.worst for writer in running) * 1000:.1f} ms")


def test_a_reader_of_a_writable_export_follows(exports: Exports) -> None:
    """A connection that cannot write has a descriptor of its own, which is replaced too."""
    spec, uri = exports.up(read_only=True)
    path = destination(exports)
    client = nbd.NBD()
    client.connect_uri(uri)
    before = client.pread(MiB, 0)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    exports.exporter.switch_mirror(spec.id)
    assert client.pread(MiB, 0) == before
    with path.open("r+b") as file:
        file.write(b"at the destination")
    assert client.pread(18, 0) == b"at the destination"
    client.flush()


def test_a_cancelled_mirror_leaves_the_source_to_its_clients(exports: Exports) -> None:
    """At any moment of the copy; what is at the destination does not change any more; another mirror can begin."""
    spec, uri = exports.up()
    path, running = destination(exports), writers(uri)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True, rate=4 * MiB)
    wait_until(lambda: exports.exporter.mirror_state(spec.id).done > 0, 10)
    assert exports.exporter.end_mirror(spec.id, spec.location) is None
    left = content(path)
    count = running[0].changes
    wait_until(lambda: running[0].changes > count + 20, 30)
    assert exports.exporter.mirror_state(spec.id).state == "none"
    assert content(path) == left
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=False)
    await_state(exports, spec, "synchronised")
    for writer in running:
        writer.stop()
    assert content(path) == content(exports.path)
    assert all(written(exports.path, writer) for writer in running)


@pytest.mark.parametrize("when", ["copying", "synchronised", "switched"])
def test_a_killed_server_comes_back_at_the_place_that_has_everything(exports: Exports, when: str) -> None:
    """Before the switch that is the source, without a mirror; after it the destination. A repair by either place's location
    leaves it there.
    """
    spec, uri = exports.up()
    path, running = destination(exports), writers(uri)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True, rate=0 if when != "copying" else MiB)
    if when != "copying":
        await_state(exports, spec, "synchronised")
    if when == "switched":
        exports.exporter.switch_mirror(spec.id)
    for writer in running:
        writer.stop()
    keeper = exports.pid(spec)
    assert keeper
    for pid in processes._children(keeper):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: processes._children(keeper) and exports.exporter.health(spec.id).ok, 10)
    holds = path if when == "switched" else exports.path
    client = nbd.NBD()
    client.connect_uri(uri)
    assert all(writer.is_in(client.pread) for writer in running)
    client.pwrite(b"after", 0)
    assert content(holds)[:5] == b"after"
    assert exports.exporter.mirror_state(spec.id).state == "none"
    exports.exporter.ensure(spec)
    assert exports.pid(spec) == keeper
    exports.exporter.forget_move(spec.id)
    exports.exporter.ensure(ExportSpec(spec.id, spec.volume_id, Location.file(holds), spec.access))
    assert exports.pid(spec) == keeper
    assert exports.exporter.find(spec.id)[0].location == Location.file(holds)  # type: ignore[index]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_destination_ends_the_mirror_and_no_request(exports: Exports, small: Path) -> None:
    """Its clients get no error, a switch is refused with the reason, and the source has everything."""
    spec, uri = exports.up()
    path = small / "destination"
    path.touch()
    os.truncate(path, SIZE)
    running = writers(uri)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "failed")
    count = running[0].changes
    wait_until(lambda: running[0].changes > count + 20, 30)
    with pytest.raises(errors.ExportFailed, match="failed: the destination, at byte .*: No space left"):
        exports.exporter.switch_mirror(spec.id)
    for writer in running:
        writer.stop()
    assert all(written(exports.path, writer) for writer in running)
    assert exports.exporter.end_mirror(spec.id, spec.location) is None


def test_a_write_that_failed_at_the_source_is_no_difference(exports: Exports, small: Path) -> None:
    """Its client gets the error, the mirror goes on, and both places have what the failed write left."""
    exports.path = small / "source"
    exports.path.touch()
    os.truncate(exports.path, SIZE)
    spec, uri = exports.up()
    path = destination(exports)
    client = nbd.NBD()
    client.connect_uri(uri)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    failed = 0
    for offset in range(0, 32 * MiB, 3 * MiB):
        try:
            client.pwrite(random.Random(offset).randbytes(2 * MiB), offset)
        except nbd.Error:
            failed += 1
    assert failed
    assert content(path) == content(exports.path)
    assert exports.exporter.mirror_state(spec.id).state == "synchronised"


def test_what_cannot_be_mirrored_is_refused(exports: Exports) -> None:
    """A destination that is too small, missing, or another host's that does not answer; a second mirror; an early switch; a malformed command."""
    spec, _uri = exports.up()

    def start(path: Path | str, **given: int) -> None:
        where = Location.file(path) if isinstance(path, Path) else Location("nbd", path)
        exports.exporter.start_mirror(spec.id, where, is_zero=True, **given)

    with pytest.raises(errors.ExportFailed, match="not mirrored"):
        exports.exporter.switch_mirror(spec.id)
    with pytest.raises(errors.ExportFailed, match="smaller than the volume"):
        start(destination(exports, "little", MiB))
    with pytest.raises(errors.ExportFailed, match="No such file"):
        start(exports.folder / "nothing")
    with pytest.raises(errors.ExportFailed, match="could not connect to remote host"):
        start("nbd://127.0.0.1:9/x")
    with pytest.raises(errors.ExportFailed, match="does not have the volume at /elsewhere"):
        exports.exporter.start_mirror(
            spec.id, Location.file(destination(exports)), is_zero=True, source=Location.file(Path("/elsewhere"))
        )
    start(destination(exports), rate=MiB)
    with pytest.raises(errors.ExportFailed, match="mirrored already"):
        start(destination(exports, "other"))
    with pytest.raises(errors.ExportFailed, match="not synchronised"):
        exports.exporter.switch_mirror(spec.id)
    exports.exporter.limit_mirror(spec.id, 0)
    await_state(exports, spec, "synchronised")
    channel = exports.folder / "e" / spec.id / "ctl.sock"
    assert channel.stat().st_mode & 0o777 == 0o600
    for line in (
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"do": "fly"}\n',
        b'{"do": "hold"}\n',
        b'{"do": "hold", "hold_ms": "long"}\n',
        b'{"do": "limit", "rate": "much"}\n',
        b'{"do": "limit", "rate": -1}\n',
        b"[" * 60000 + b"\n",
        b"\xff\n",
        b"x" * 70000,
    ):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(channel))
            sock.sendall(line)
            sock.shutdown(socket.SHUT_WR)
            assert "malformed" in json.loads(sock.recv(4096))["error"]
    assert exports.exporter.mirror_state(spec.id).state == "synchronised"


def test_a_server_without_the_channel_goes_on_where_a_mirror_is_to_end(exports: Exports) -> None:
    """One of an older version mirrors nothing, and has clients."""
    spec, _uri = exports.up()
    (exports.folder / "e" / spec.id / "ctl.sock").unlink()
    assert exports.exporter.end_mirror(spec.id, spec.location) is None
    assert exports.exporter.health(spec.id).ok


def test_an_export_that_ended_after_its_switch_tells_where_the_volume_is(exports: Exports) -> None:
    """Its folder is gone, and the record stays until it is forgotten."""
    spec, _uri = exports.up()
    path = destination(exports)
    exports.exporter.start_mirror(spec.id, Location.file(path), is_zero=True)
    await_state(exports, spec, "synchronised")
    exports.exporter.switch_mirror(spec.id)
    exports.exporter.remove(spec.id)
    assert exports.exporter.end_mirror(spec.id, spec.location) == Location.file(path)
    exports.exporter.forget_move(spec.id)
    assert exports.exporter.moved_to(spec.id, spec.location) is None
