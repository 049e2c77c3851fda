"""The server of a volume that is on its way here: it refuses clients, and then serves the volume, without another start."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbd
import pytest
from exporting import Exports
from waiting import wait_until

from nbdsvc.connectors import redirected
from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd import moved, processes
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.location import Location

KEY = "3c" * 32


@pytest.fixture
def made(short_folder: Path) -> Iterator[Exports]:
    exports = Exports(short_folder)
    exports.exporter = NbdExporter(short_folder / "e", "me", "127.0.0.1", (22810, 22860), tls=False)
    yield exports
    for id in exports.exporter.inventory().exports:
        exports.exporter.remove(id)


def servers(made: Exports, spec: ExportSpec) -> set[int]:
    """The pids of its nbdkit, without the shell that keeps it."""
    found = processes.serving(made.exporter._root).get(spec.id, set())
    return {pid for pid in found if not processes._is_keeper(pid)}


def port(made: Exports, spec: ExportSpec) -> int:
    return int((StateDir(made.exporter._root, spec.id).read() or {})["port"])


def uri(made: Exports, spec: ExportSpec) -> str:
    """As a client has it, with the file of its key."""
    key = made.folder / "key"
    key.touch(0o600)
    key.write_text(f"{spec.id}:{KEY}\n")
    scheme, query = ("nbds", f"?tls-psk-file={key}") if spec.secret else ("nbd", "")
    at = f"{spec.id}@" if spec.secret else ""
    return f"{scheme}://{at}127.0.0.1:{port(made, spec)}/volume-{spec.volume_id}{query}"


def connected(uri: str) -> nbd.NBD:
    client = nbd.NBD()
    client.set_uri_allow_local_file(True)
    client.connect_uri(uri)
    return client


@pytest.mark.row("S033", "S085")
@pytest.mark.parametrize("secret", [KEY, None])
def test_a_prepared_server_serves_when_the_volume_is_here(made: Exports, secret: str | None) -> None:
    """Without another start, at its port, with the limits that it is given then; also after its own death."""
    spec = made.spec(tcp=True, secret=secret)
    assert made.exporter.prepare(spec)
    before, place = servers(made, spec), uri(made, spec)
    with pytest.raises(redirected.MovingError):
        redirected.look("nbdinfo", place, f"volume-{spec.volume_id}")
    with pytest.raises(nbd.Error):
        connected(place)
    assert made.exporter.find(spec.id) is None
    assert not made.exporter.prepare(spec)
    made.exporter.ensure(replace(spec, limits={"total_iops_sec": 500}))
    assert (servers(made, spec), uri(made, spec)) == (before, place)
    client = connected(place)
    client.pwrite(b"here", 4096)
    client.flush()
    assert made.path.read_bytes()[4096:4100] == b"here"
    assert made.exporter.limits(spec.id) == {"total_iops_sec": 500}
    assert redirected.look("nbdinfo", place, f"volume-{spec.volume_id}") is None
    made.exporter.unprepare(spec.id)  # of an undo that comes too late
    for pid in servers(made, spec):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: servers(made, spec) - before)
    assert connected(place).pread(4, 4096) == b"here"
    assert made.exporter.mirror_state(spec.id).state == "none"


@pytest.mark.row("S033")
def test_a_volume_that_comes_back_is_served_by_its_redirect(made: Exports) -> None:
    """Another one's note, or another key, needs a new server."""
    spec = made.spec(tcp=True)
    assert made.exporter.prepare(spec)
    made.exporter.redirect(spec.id, f"nbd://127.0.0.1:1/volume-{spec.volume_id}")
    before, place = servers(made, spec), uri(made, spec)
    assert redirected.look("nbdinfo", place, f"volume-{spec.volume_id}") == f"nbd://127.0.0.1:1/volume-{spec.volume_id}"
    made.exporter.unprepare(spec.id)  # it leads somewhere
    made.exporter.ensure(spec)
    assert servers(made, spec) == before
    assert connected(place).pread(4, 0) == bytes(4)
    other = made.spec(tcp=True)
    assert made.exporter.prepare(other)
    before = servers(made, other)
    made.exporter.ensure(replace(other, read_only=True))
    assert not servers(made, other) & before
    assert connected(uri(made, other)).is_read_only()


def test_what_was_prepared_is_removed(made: Exports) -> None:
    """Where the volume never comes; with the shell that keeps it, its server ends."""
    spec, other = made.spec(tcp=True), made.spec(tcp=True)
    for each in (spec, other):
        assert made.exporter.prepare(each)
    assert made.exporter.left() == {spec.id, other.id}
    made.exporter.unprepare(spec.id)
    assert made.exporter.left() == {other.id}
    pids = processes.serving(made.exporter._root)[other.id]
    os.kill(next(pid for pid in pids if processes._is_keeper(pid)), signal.SIGKILL)
    wait_until(lambda: not processes.serving(made.exporter._root).get(other.id))


def test_a_server_does_not_serve_what_is_elsewhere(made: Exports) -> None:
    """By its spec, whatever the command says; a client of `nbdinfo` that is connected at the change does no harm."""
    spec = made.spec(tcp=True)
    assert made.exporter.prepare(spec)
    with pytest.raises(Exception, match="the volume is at nbd://moving.invalid/"):
        made.exporter._command(spec.id, do="serve")
    list_uri = uri(made, spec).removesuffix(f"volume-{spec.volume_id}")
    listing = nbd.NBD()
    listing.connect_uri(f"{list_uri}volume-{spec.volume_id}.moved")
    made.exporter.ensure(spec)
    listing.shutdown()
    assert connected(uri(made, spec)).pread(4, 0) == bytes(4)
    assert not moved.is_recorded(StateDir(made.exporter._root, spec.id).path)
    done = subprocess.run(["nbdinfo", "--list", list_uri], capture_output=True, text=True, timeout=30, check=True)
    assert ".moved" not in done.stdout


def test_a_location_that_nbd_cannot_serve_is_refused_before_anything_is_copied(made: Exports) -> None:
    """And leaves no export."""
    spec = replace(made.spec(tcp=True), location=Location("rbd", "pool/volume"))
    with pytest.raises(Exception, match="rbd"):
        made.exporter.prepare(spec)
    assert made.exporter.inventory().exports == ()
