"""Clients of one attachment that mean ill, and folders and processes that are not as they were left, at real servers."""

import json
import os
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbd
import pytest
from exporting import Export, ensure
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names

MIB = 1 << 20
PATIENCE = 60.0
REQUEST = struct.Struct(">IHHQQI")


class Exports:
    """An exporter and a volume of 64 MiB."""

    def __init__(self, folder: Path, volume: Path) -> None:
        with volume.open("wb") as file:
            file.truncate(64 * MIB)
        self.folder, self.volume = folder, volume
        self.exporter = NbdExporter(folder, "me", "127.0.0.1", (24210, 24260), tls=False)

    def up(self, *, tcp: bool = False) -> tuple[ExportSpec, Export]:
        spec = ExportSpec(names.new_id(), names.new_id(), Location.file(self.volume), Access(network=tcp))
        return spec, ensure(self.exporter, spec)

    def server(self, spec: ExportSpec) -> int:
        pids = processes.serving(self.folder)[spec.id]
        return next(pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == "nbdkit")


@pytest.fixture
def exports(tmp_path: Path) -> Iterator[Exports]:
    made = Exports(Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp")), tmp_path / "volume")
    yield made
    for id in made.exporter.inventory().exports:
        made.exporter.remove(id)
    shutil.rmtree(made.folder)


def connected(export: Export) -> nbd.NBD:
    client = nbd.NBD()
    client.set_export_name(export.name)
    client.connect_unix(str(export.unix_socket))
    return client


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_a_handshake_that_nobody_goes_on_with_ends(exports: Exports, over: str) -> None:
    """Half-open connections are shut after seconds; a full house sends away, and is not taken for a dead server."""
    spec, export = exports.up(tcp=True)
    client = connected(export)

    def dial() -> socket.socket:
        if over == "tcp":
            return socket.create_connection(("127.0.0.1", export.port or 0), timeout=PATIENCE)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(str(export.unix_socket))
        return sock

    half = [dial() for _ in range(40)]
    assert exports.exporter.health(spec.id).ok
    assert ensure(exports.exporter, spec).pid == export.pid
    assert client.pread(512, 0) == bytes(512)
    for sock in half:
        while sock.recv(64):
            pass
        sock.close()
    wait_until(lambda: _greets(export))
    assert client.pread(512, 0) == bytes(512)


def _greets(export: Export) -> bool:
    try:
        return connected(export).pread(512, 0) == bytes(512)
    except nbd.Error:
        return False


def test_another_state_folders_server_of_the_same_attachment_is_left_alone(exports: Exports, tmp_path: Path) -> None:
    """And so are files in the exports' folder that are no exports."""
    spec, _ = exports.up()
    other = Exports(Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp")), tmp_path / "other")
    (exports.folder / "lost+found").mkdir()
    (exports.folder / "notes").write_text("mine")
    try:
        client = connected(ensure(other.exporter, spec))
        assert exports.exporter.inventory().exports == (spec.id,)
        exports.exporter.remove(spec.id)
        assert client.pread(512, 0) == bytes(512)
    finally:
        other.exporter.remove(spec.id)
        shutil.rmtree(other.folder)


def test_a_damaged_neighbour_does_not_keep_an_export_from_its_port(exports: Exports) -> None:
    """A spec of another export that is no spec is passed over."""
    for index, content in enumerate(("", "[]", "5", json.dumps({"port": "x"}))):
        folder = exports.folder / f"00000000-0000-4000-8000-00000000000{index}"
        folder.mkdir()
        (folder / "spec.json").write_text(content)
    (exports.folder / names.new_id()).write_text("a file")
    _, export = exports.up(tcp=True)
    assert export.port


def test_a_server_that_was_stopped_is_sick(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer and takes no processor time; the repair puts another one in its place."""
    from nbdsvc.exports.nbd import exporter as exporting

    monkeypatch.setattr(exporting, "ANSWER_SECONDS", 1.0)
    spec, export = exports.up()
    server = exports.server(spec)
    os.kill(server, signal.SIGSTOP)
    assert not exports.exporter.health(spec.id).ok
    assert exports.exporter.ensure(spec)
    assert exports.server(spec) != server
    assert connected(export).pread(512, 0) == bytes(512)


def test_stopped_servers_cost_nobody_else(make_service: Callable[..., ServiceProcess]) -> None:
    """Four that answer nothing: the host goes on to say that it is up, and others get volumes."""
    service = make_service(repair_interval=0.5)
    client = service.client()
    exports = service.state / "exports"
    for _ in range(4):
        volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
        assert service.wait_status("volumes", volume) == "available"
        fields = {"volume_uuid": volume, "connector": {"host": "me", "ip": "127.0.0.1"}}
        client.post("attachments", body={"attachment": fields})
    stopped = [pid for pids in processes.serving(exports).values() for pid in pids]
    assert len(stopped) == 8
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    seen: set[str] = set()
    wait_until(lambda: seen.add(client.get("os-services")["services"][0]["updated_at"]) or len(seen) > 4)  # type: ignore[func-returns-value]
    assert client.get("os-services")["services"][0]["state"] == "up"
    made = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
