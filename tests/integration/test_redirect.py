"""The former address of a volume that went to another host, without TLS, as the kernel's client has it; and other clients there."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbd
import pytest
from waiting import wait_until

from nbdsvc.connectors import kernel_nbd, redirected
from nbdsvc.connectors.server_file import Server
from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

SIZE = 8 * MiB
NETWORK = Access(network=True)


class Left:
    """An export whose volume is left by its server; `there` is where its clients are to go."""

    def __init__(self, folder: Path) -> None:
        self.exporter = NbdExporter(folder / "exports", "me", "127.0.0.1", (23210, 23259), tls=False)
        self.id, self.move = (names.new_id() for _ in range(2))
        self.here, self.target = (Location.file(folder / name) for name in ("here", "there"))
        for each in (self.here, self.target):
            each.path.touch()
            os.truncate(each.path, SIZE)
        self.info = self._export(self.id, self.here)
        moving = self._export(self.move, self.target)
        self.exporter.start_mirror(self.id, Location("nbd", moving["uri"]), is_zero=True)
        wait_until(lambda: self.exporter.mirror_state(self.id).state == "synchronised")

    def _export(self, id: str, location: Location) -> dict[str, Any]:
        return self.exporter.ensure(ExportSpec(id, "v", location, NETWORK)).data

    def remove(self) -> None:
        for id in self.exporter.inventory().exports:
            self.exporter.remove(id)


@pytest.fixture
def left(short_folder: Path) -> Iterator[Left]:
    made = Left(short_folder)
    yield made
    made.remove()


def _refusal(uri: str) -> str:
    client = nbd.NBD()
    with pytest.raises(nbd.Error) as caught:
        client.connect_uri(uri)
    return str(caught.value)


def test_clients_are_led_to_the_volume(left: Left) -> None:
    """While it is on its way they wait; one that knows no redirect is refused."""
    exporter, info = left.exporter, left.info
    assert kernel_nbd.moved_to(info) is None
    client = nbd.NBD()
    client.connect_uri(info["uri"])
    client.pwrite(b"answered", 4096)
    exporter.leave(left.id, left.here)
    assert left.target.path.read_bytes()[4096:4104] == b"answered"
    with pytest.raises(nbd.Error):
        client.pread(8, 4096)
    wait_until(lambda: _is_moving(info))
    assert kernel_nbd.moved_to(info) is None
    assert "server has no export named" in _refusal(info["uri"])
    there = f"nbd://127.0.0.1:23999/{info['export']}"
    exporter.redirect(left.id, there)
    assert kernel_nbd.moved_to(info) == {"host": "127.0.0.1", "port": 23999}
    assert exporter.left() == {left.id}
    assert exporter.find(left.id) is None
    exporter.redirect(left.id, there.replace("23999", "23998"))
    assert kernel_nbd.moved_to(info) == {"host": "127.0.0.1", "port": 23998}


def _is_moving(info: dict[str, Any]) -> bool:
    try:
        redirected.look("nbdinfo", info["uri"], info["export"])
    except redirected.MovingError:
        return True
    except OSError:
        return False
    return False


def test_a_server_that_left_comes_back(left: Left) -> None:
    """At its port, with what was answered: the volume went nowhere."""
    client = nbd.NBD()
    client.connect_uri(left.info["uri"])
    client.pwrite(b"answered", 0)
    left.exporter.leave(left.id, left.here)
    left.exporter.come_back(left.id)
    assert left._export(left.id, left.here)["uri"] == left.info["uri"]
    again = nbd.NBD()
    again.connect_uri(left.info["uri"])
    assert again.pread(8, 0) == b"answered"
    assert left.exporter.left() == frozenset()


def test_only_what_is_equal_is_left(left: Left) -> None:
    """Without a mirror the server refuses, and goes on."""
    left.exporter.end_mirror(left.id, left.here)
    with pytest.raises(Exception, match="not mirrored"):
        left.exporter.leave(left.id, left.here)
    client = nbd.NBD()
    client.connect_uri(left.info["uri"])
    assert client.get_size() == SIZE


@pytest.mark.parametrize(
    "address", ["nbd://h:1/volume-1", "nbds://h:1/volume-2", "nbds://h:1/volume-1?tls-psk-file=x", "nbds://h:1/"]
)
def test_a_redirect_leads_to_the_same_export_with_tls_alone(address: str) -> None:
    """Whoever has taken the address cannot lead a client anywhere else."""
    server = Server("nbds://me@a:10809/volume-1", "volume-1", "/key")
    assert server.at("nbds://me@[::1]:1/volume-1").host == "::1"
    with pytest.raises(OSError, match="same export"):
        server.at(address)


def test_what_is_no_redirect(tmp_path: Path) -> None:
    """A server that does not answer is an error; exports of other names say nothing."""
    with pytest.raises(OSError, match="."):
        redirected.look("nbdinfo", f"nbd+unix:///?socket={tmp_path}/{uuid.uuid4()}", "volume-1")
    texts = [("volume-2.moved", "moved to nbd://h/volume-1"), ("volume-1.moved", "moved to http://h/")]
    assert (
        redirected._parse({"exports": [{"export-name": a, "description": b} for a, b in texts]}, "volume-1.moved")
        is None
    )
