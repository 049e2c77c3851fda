"""iSCSI discovery by sockets alone: against tgtd, against portals that misbehave, and what an exporter makes of it."""

import itertools
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import wait_until

from nbdsvc import errors, net
from nbdsvc.exporter import Access, Connector, ExportSpec
from nbdsvc.exports.lio import LioExporter
from nbdsvc.exports.lio.discovery import DiscoveryFailed, send_targets
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.lio.portals import parse
from nbdsvc.location import Location
from nbdsvc.model import names

ME, OTHER = "iqn.2026-11.org.example:me", "iqn.2026-11.org.example:other"
# So many that their names do not fit into one answer.
TARGETS = [f"iqn.2026-11.org.example:{'target' * 20}{number}" for number in range(120)]
ANYWHERE = ("0.0.0.0",)


@contextmanager
def tgtd() -> Iterator[int]:
    """A target server in user space (Debian's tgt) that lets one initiator see TARGETS; the port on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    control = str(port % 32768)  # of its own, beside a tgtd of the host; tgtd takes 15 bits
    server = subprocess.Popen(["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"])
    try:
        for number, name in enumerate(TARGETS, 1):
            target = ["--mode", "target", "--tid", str(number)]
            _tgtadm(control, "--op", "new", *target, "-T", name)
            _tgtadm(control, "--op", "bind", *target, "--initiator-name", ME)
        yield port
    finally:
        server.kill()  # it takes a SIGTERM for no reason to end while it has targets
        server.wait()


def _tgtadm(control: str, *words: str) -> None:
    argv = ["tgtadm", "-C", control, "--lld", "iscsi", *words]
    wait_until(lambda: subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode == 0, 20, lambda: argv)


@pytest.mark.row("S124")
def test_a_portal_tells_an_initiator_what_it_may_have() -> None:
    """All names, in several answers; another initiator gets none."""
    with tgtd() as port:
        assert sorted(send_targets("127.0.0.1", port, ME)) == sorted((name, f"127.0.0.1:{port}") for name in TARGETS)
        assert send_targets("127.0.0.1", port, OTHER) == []
    with pytest.raises(DiscoveryFailed, match="Connection refused"):
        send_targets("127.0.0.1", port, ME)


@contextmanager
def portal(*answers: bytes) -> Iterator[int]:
    """One that answers each request with the next of these bytes, whatever it was, and then closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            sock, _ = server.accept()
            with sock:
                for answer in answers:
                    if not sock.recv(4096):
                        return
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def pdu(opcode: int, flags: int, data: bytes = b"", *, tag: int = 0xFFFFFFFF, status: int = 0) -> bytes:
    header = struct.pack(
        ">BBHI8sIIII4xBB10x", opcode, flags, 0, len(data), bytes(8), 1, tag, 1, 1, status >> 8, status & 255
    )
    return header + data + bytes(-len(data) % 4)


LOGGED_IN = pdu(0x23, 0x87)


@given(cuts=st.lists(st.integers(0, 90), max_size=5), pings=st.booleans())
def test_an_answer_in_parts(cuts: list[int], pings: bool) -> None:
    """Cut anywhere, also within a name, with pings between: the same targets."""
    text = b"TargetName=iqn.a\0TargetAddress=192.0.2.1:3260,1\0TargetAddress=[fd00::1]:3260,1\0TargetName=iqn.b\0"
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [text[begin:end] for begin, end in itertools.pairwise(places)]
    last = len(parts) - 1
    answers = [
        pdu(0x20, 0x80) * pings
        + pdu(0x24, 0x80 if number == last else 0x40, part, tag=0xFFFFFFFF if number == last else 7)
        for number, part in enumerate(parts)
    ]
    with portal(LOGGED_IN, *answers, b"") as port:
        assert send_targets("127.0.0.1", port, ME) == [("iqn.a", "192.0.2.1:3260"), ("iqn.a", "[fd00::1]:3260")]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((pdu(0x23, 0x87, status=0x0201),), "refused with status 0x0201"),
        ((pdu(0x23, 0x04),), "wants to negotiate"),
        ((pdu(0x3F, 0x80),), "opcode 0x3f"),
        ((LOGGED_IN, pdu(0x24, 0x80)[:20]), "closed the connection"),
        ((LOGGED_IN, *[pdu(0x24, 0x40, bytes(1 << 18), tag=7)] * 5), "tells of too much"),
        ((), "closed the connection|reset"),
    ],
)
def test_a_portal_that_misbehaves(answers: tuple[bytes, ...], reason: str) -> None:
    """Refusals, other protocols, half an answer and one without an end: the reason is said."""
    with portal(*answers) as port, pytest.raises(DiscoveryFailed, match=reason):
        send_targets("127.0.0.1", port, ME)


def test_answers_of_nothing_for_ever() -> None:
    """As LIO gives them to who does not say how much it takes."""
    with (
        portal(LOGGED_IN, *[pdu(0x24, 0x40, tag=7)] * 100_000) as port,
        pytest.raises(DiscoveryFailed, match="to an end|timed out"),
    ):
        send_targets("127.0.0.1", port, ME, 0.5)


@given(noise=st.binary(max_size=200), logged_in=st.booleans())
@settings(max_examples=50)
def test_noise_is_no_answer(noise: bytes, logged_in: bool) -> None:
    """Whatever bytes come, there are targets or there is a reason, and nothing else is raised."""
    with portal(*([LOGGED_IN] if logged_in else []), noise) as port:
        try:
            assert isinstance(send_targets("127.0.0.1", port, ME), list)
        except DiscoveryFailed as error:
            assert str(error)


def test_the_address_that_faces_another() -> None:
    """Of this host, by its routes."""
    assert net.source_address_for("127.0.0.1") == "127.0.0.1"


class Storage:
    """An exporter that listens everywhere, over the simulator, and one volume."""

    def __init__(self, folder: Path) -> None:
        self.lio = MemoryLio()
        self.exporter = LioExporter(
            folder, self.lio, parse(ANYWHERE), "iqn.2010-10.org.openstack:", 512, write_through=True
        )
        path = folder / "volume"
        path.write_bytes(bytes(1 << 20))
        self.location = Location.file(path)
        self.spec = ExportSpec(
            names.new_id(), names.new_id(), self.location, self.access(), secret=os.urandom(32).hex()
        )

    def access(self, **given: Any) -> Access:
        return self.exporter.accept(Connector.parse({"initiator": ME, "ip": "192.0.2.9", **given}), self.location)


@pytest.mark.row("S124", "S120")
def test_portals_that_are_all_addresses_are_discovered(tmp_path: Path) -> None:
    """No provider_location; the initiator gets the portal of the SendTargets reply, and that it was discovered."""
    storage = Storage(tmp_path)
    info = storage.exporter.ensure(replace(storage.spec, access=storage.access(multipath=True)))
    assert info.location is None
    data = info.data
    assert (data["target_discovered"], data["target_portal"], data["target_lun"]) == (True, "192.0.2.1:3260", 0)
    assert (data["target_portals"], data["target_luns"]) == (["192.0.2.1:3260"], [0])


@pytest.mark.row("S124")
def test_a_target_that_is_not_discovered_is_refused(tmp_path: Path) -> None:
    """The volume is named, with the reason; so is an initiator that does not say where it is."""
    storage = Storage(tmp_path)
    storage.lio.silent = "192.0.2.1:3260: Connection refused"
    with pytest.raises(
        errors.InvalidInput, match="value for volume: discovery failed: 192.0.2.1:3260: Connection refused"
    ):
        storage.exporter.ensure(storage.spec)
    storage.lio.silent = None
    storage.lio.hidden = {f"iqn.2010-10.org.openstack:volume-{storage.spec.volume_id}"}
    with pytest.raises(errors.InvalidInput, match=f"value for volume: discovery does not tell {ME}"):
        storage.exporter.ensure(storage.spec)
    for ip in (None, "", "host", 7):
        with pytest.raises(errors.InvalidInput, match=r"connector\.ip"):
            storage.access(ip=ip)
