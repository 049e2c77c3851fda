"""A server that ends under its client: the client loses its connection, never gets an error for a request, and finds the
next one where it was."""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbd
import pytest
from exporting import NETWORK, ensure, killed
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names

MIB = 1 << 20
# Two ports, so that the second export would have to take the first one's; other workers of this run have others.
FIRST_PORT = 23910 + 2 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])


class Writer(threading.Thread):
    """Writes until it cannot; `error` is why."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._client, self.error, self.writes = nbd.NBD(), "", 0
        self._client.connect_uri(uri)

    def run(self) -> None:
        try:
            while True:
                self._client.pwrite(b"a" * MIB, 0)
                self.writes += 1
        except nbd.Error as error:
            self.error = str(error)


@pytest.fixture
def spec(tmp_path: Path) -> ExportSpec:
    with (tmp_path / "volume").open("wb") as file:
        file.truncate(8 * MIB)
    return ExportSpec(
        id=names.new_id(), volume_id=names.new_id(), location=Location.file(tmp_path / "volume"), access=NETWORK
    )


@pytest.fixture
def exporters() -> Iterator[list[NbdExporter]]:
    """Two, the second of which replaces what the first one has started: its servers write through."""
    folder = Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp"))
    ports = (FIRST_PORT, FIRST_PORT + 1)
    made = [NbdExporter(folder, "me", "127.0.0.1", ports, tls=False, write_through=it) for it in (False, True)]
    yield made
    for id in made[0].inventory().exports:
        made[0].remove(id)
    folder.rmdir()


@pytest.mark.parametrize("how", ["replaced", "removed", "keeper killed", "server killed"])
def test_a_server_that_ends_refuses_nothing(exporters: list[NbdExporter], spec: ExportSpec, how: str) -> None:
    """A kernel asks the next server again for what has no answer; ESHUTDOWN, nbdkit's word, it hands on as EIO."""
    export = ensure(exporters[0], spec)
    name = names.export_name(spec.volume_id)
    writers = [
        Writer(f"nbd+unix:///{name}?socket={export.unix_socket}"),
        Writer(f"nbd://127.0.0.1:{export.port}/{name}"),
    ]
    for writer in writers:
        writer.start()
    wait_until(lambda: all(writer.writes or not writer.is_alive() for writer in writers))
    assert all(writer.is_alive() for writer in writers), [writer.error for writer in writers]
    if how == "replaced":
        assert ensure(exporters[1], spec).pid != export.pid
    elif how == "removed":
        exporters[1].remove(spec.id)
    else:
        servers = processes.serving(exporters[0]._root)[spec.id]
        os.kill(export.pid if how == "keeper killed" else max(servers - {export.pid}), signal.SIGKILL)
    for writer in writers:
        writer.join(10)
        assert not writer.is_alive()
        assert "ESHUTDOWN" not in writer.error
        assert "disconnect" in writer.error or "reset" in writer.error or "not connected" in writer.error, writer.error


@pytest.mark.row("S068", "S073")
def test_a_port_is_its_attachments_until_the_detach(exporters: list[NbdExporter], spec: ExportSpec) -> None:
    """An initiator comes back to the port that it was given. So another export does not get it while its server is dead, and
    a repair that cannot have it fails with its number, again and again, until it can; then it is free for others."""
    exporter, port = exporters[0], killed(exporters[0], spec).port
    assert port
    other, third = replace(spec, id=names.new_id()), replace(spec, id=names.new_id())
    assert ensure(exporter, other).port != port
    with socket.create_server(("127.0.0.1", port)):
        for _ in range(2):
            with pytest.raises(errors.ExportFailed, match=f"port {port} on 127.0.0.1, which its initiator has"):
                exporter.ensure(spec)
    with pytest.raises(errors.ExportFailed, match="no free port"):
        exporter.ensure(third)
    assert ensure(exporter, spec).port == port
    exporter.remove(spec.id)
    assert ensure(exporter, third).port == port


def test_a_port_that_was_told_is_had_without_any_note(exporters: list[NbdExporter], spec: ExportSpec) -> None:
    """The attachment's row has it, where the exports' folder was lost with its host's power."""
    for port in (FIRST_PORT + 1, FIRST_PORT):
        assert ensure(exporters[0], replace(spec, port=port)).port == port
        exporters[0].remove(spec.id)
