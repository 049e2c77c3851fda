"""Writes that the kernel accepted and then lost: a block device whose disk runs full underneath it, behind a real export."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbd
import pytest
from exporting import NETWORK, ensure

from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names

MIB = 1 << 20
SIZE, ROOM = 32 * MIB, 8 * MIB


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A device of 32 MiB on a tmpfs that has 8: writes beyond are accepted into the page cache and fail afterwards."""
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(small))
    with (small / "disk").open("wb") as file:
        file.truncate(SIZE)
    device = run("losetup", "--show", "-f", str(small / "disk"))
    yield Path(device)
    run("losetup", "-d", device)
    run("umount", "-l", str(small))


@pytest.fixture
def exporter() -> Iterator[NbdExporter]:
    made = NbdExporter(Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp")), "me")
    yield made
    for id in made.inventory().exports:
        made.remove(id)
    made._root.rmdir()


def connect(exporter: NbdExporter, spec: ExportSpec) -> nbd.NBD:
    client = nbd.NBD()
    client.set_export_name(names.export_name(spec.volume_id))
    client.connect_unix(str(ensure(exporter, spec).unix_socket))
    return client


def make_room(disk: Path) -> None:
    backing = Path(run("losetup", "-n", "-O", "BACK-FILE", str(disk)))
    run("mount", "-o", f"remount,size={2 * SIZE}", str(backing.parent))


def test_a_lost_write_is_told_by_every_flush_from_then_on(full_disk: Path, exporter: NbdExporter) -> None:
    """By the next flush and FUA write, on each connection and on later ones, after the disk is well and after a restart.

    A new attachment begins with what is there.
    """
    spec = ExportSpec(id=names.new_id(), volume_id=names.new_id(), location=Location.file(full_disk))
    one, two = connect(exporter, spec), connect(exporter, spec)
    one.pwrite(b"kept" * 256, 0)
    one.flush()
    for offset in range(MIB, 24 * MIB, MIB):
        one.pwrite(b"\xa5" * MIB, offset)
    with pytest.raises(nbd.Error, match="Input/output error|No space"):
        two.flush()
    for client in (one, two, connect(exporter, spec)):
        with pytest.raises(nbd.Error):
            client.flush()
        with pytest.raises(nbd.Error):
            client.pwrite(b"x" * 512, 0, nbd.CMD_FLAG_FUA)
    make_room(full_disk)
    one.pwrite(b"more" * 256, 0)
    with pytest.raises(nbd.Error):
        one.flush()
    subprocess.run(["kill", "-9", str(ensure(exporter, spec).pid)], check=True)
    again = connect(exporter, spec)
    with pytest.raises(nbd.Error):
        again.flush()
    exporter.remove(spec.id)
    anew = ExportSpec(id=names.new_id(), volume_id=spec.volume_id, location=Location.file(full_disk))
    client = connect(exporter, anew)
    client.pwrite(b"anew" * 256, 4096)
    client.flush()
    assert client.pread(4, 0) == b"more"
    client.shutdown()


def test_over_the_network_a_write_is_answered_when_it_is_on_disk(full_disk: Path) -> None:
    """A client that outlives this host never sends an answered write again, so one that is not on disk is no success; on
    this host, and where the operator says so, it is accepted and the flush fails.
    """
    folder = Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp"))
    spec = ExportSpec(id=names.new_id(), volume_id=names.new_id(), location=Location.file(full_disk), access=NETWORK)
    room = range(MIB, 24 * MIB, MIB)
    try:
        for write_through in (True, False):
            made = NbdExporter(folder, "me", "127.0.0.1", (23810, 23860), tls=False, write_through=write_through)
            client = connect(made, spec)
            client.pwrite(b"kept" * 256, 0)
            if write_through:
                client.flush()
                with pytest.raises(nbd.Error, match="Input/output error|No space"):
                    fill(client, room)
            else:
                fill(client, room)
            with pytest.raises(nbd.Error):
                client.flush()
            client.shutdown()
            made.remove(spec.id)
    finally:
        folder.rmdir()


def test_a_server_that_begins_to_write_through_flushes_what_the_one_before_answered(full_disk: Path) -> None:
    """Writes that were answered from the page cache, and lost, fail the first flush at a server that writes through."""
    folder = Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp"))
    spec = ExportSpec(id=names.new_id(), volume_id=names.new_id(), location=Location.file(full_disk), access=NETWORK)
    before, after = (
        NbdExporter(folder, "me", "127.0.0.1", (23810, 23860), tls=False, write_through=through)
        for through in (False, True)
    )
    try:
        fill(connect(before, spec), range(MIB, 24 * MIB, MIB))
        with pytest.raises(nbd.Error):
            connect(after, spec).flush()
    finally:
        after.remove(spec.id)
        folder.rmdir()


def fill(client: nbd.NBD, offsets: range) -> None:
    for offset in offsets:
        client.pwrite(b"\xa5" * MIB, offset)
