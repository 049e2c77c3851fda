"""The contract of nbdsvc/exporter.py over the NBD exporter, judged by nbdinfo, nbdcopy, qemu-img, qemu-io and libnbd."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import nbd
import pytest
from exporting import SIZE, Exports, killed
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.exporter import Connector, ExportSpec, Inventory
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.exports.nbd.state_dir import stat_of
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

KEY = "5a" * 32
AT = Location.file(Path("/volume"))


def connected(uri: str) -> nbd.NBD:
    client = nbd.NBD()
    client.add_meta_context("base:allocation")
    client.connect_uri(uri)
    return client


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


@pytest.mark.row("S067", "S070")
def test_clients_agree_on_size_flags_and_description(exports: Exports) -> None:
    """nbdinfo, qemu-img and libnbd see the same export with the flags that are true."""
    _, uri = exports.up()
    info = json.loads(run("nbdinfo", "--json", uri).stdout)["exports"][0]
    assert info["export-size"] == SIZE
    assert "nbdsvc volume" in info["description"]
    for flag in ("can_flush", "can_fua", "can_zero", "can_trim", "can_multi_conn", "can_cache", "can_fast_zero"):
        assert info[flag] is True, flag
    assert (info["block_size_minimum"], info["block_size_maximum"]) == (1, 4 * MiB)
    assert json.loads(run("qemu-img", "info", "-f", "raw", "--output=json", uri).stdout)["virtual-size"] == SIZE
    client = connected(uri)
    assert (client.get_size(), client.is_read_only(), client.can_trim()) == (SIZE, False, True)


@pytest.mark.row("S067")
def test_clients_agree_on_data_and_extents(exports: Exports) -> None:
    """What qemu-io writes, libnbd, nbdcopy and qemu-img read; holes are holes for all of them."""
    _, uri = exports.up()
    assert run("qemu-io", "-f", "raw", "-c", "write -P 7 8M 1M", "-c", "write -P 9 32M 64k", uri).returncode == 0
    client = connected(uri)
    assert client.pread(MiB, 8 * MiB) == b"\7" * MiB
    copy = exports.folder / "copy"
    assert run("nbdcopy", uri, str(copy)).returncode == 0
    assert copy.read_bytes() == exports.path.read_bytes()
    assert run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, str(exports.path)).returncode == 0
    extents: list[int] = []
    client.block_status(SIZE, 0, lambda _context, _offset, entries, _error: extents.extend(entries))
    assert extents[:6] == [8 * MiB, 3, MiB, 0, 23 * MiB, 3]
    mapped = json.loads(run("qemu-img", "map", "-f", "raw", "--output=json", uri).stdout)
    assert [(row["start"], row["length"], row["data"]) for row in mapped][:3] == [
        (0, 8 * MiB, False), (8 * MiB, MiB, True), (9 * MiB, 23 * MiB, False)]  # fmt: skip


@pytest.mark.row("S092")
def test_a_client_by_the_growing_name_sees_the_volume_grow(exports: Exports) -> None:
    """Its connection reaches what was added; beyond the end everything is refused, and the file is not made larger."""
    spec, uri = exports.up()
    export = names.export_name(spec.volume_id)
    client = connected(uri.replace(export, names.growing_name(export)))
    client.set_strict_mode(client.get_strict_mode() & ~nbd.STRICT_BOUNDS)
    last, added = SIZE - 4096, SIZE + MiB
    client.pwrite(b"\1" * 4096, last)

    def refused() -> None:
        for attempt in (
            lambda: client.pread(8192, last),
            lambda: client.pwrite(b"\2" * 8192, last),
            lambda: client.zero(8192, last),
            lambda: client.trim(8192, last),
            lambda: client.pwrite(b"\2" * 4096, 1 << 61),
        ):
            with pytest.raises(nbd.Error):
                attempt()

    refused()
    assert exports.path.stat().st_size == SIZE
    assert connected(uri).pread(4096, last) == b"\1" * 4096
    os.truncate(exports.path, 2 * SIZE)
    exports.exporter.resize(spec.id, 2 * SIZE)
    client.pwrite(b"\3" * 4096, added)
    client.zero(4096, last)
    client.flush()
    assert exports.path.stat().st_size == 2 * SIZE
    assert connected(uri).pread(4096, added) == client.pread(4096, added) == b"\3" * 4096
    last = 2 * SIZE - 4096
    refused()


def test_every_command_against_a_model_of_the_bytes(exports: Exports) -> None:
    """Any sequence of writes, zeroes, trims, caches and flushes leaves the bytes that the model has."""
    _, uri = exports.up()
    client = connected(uri)
    model = bytearray(SIZE)
    commands = st.tuples(
        st.sampled_from(["write", "fua", "zero", "zero no hole", "fast zero", "trim", "flush", "cache"]),
        st.integers(0, SIZE - 300_000), st.integers(1, 300_000), st.integers(0, 255),
    )  # fmt: skip

    @settings(max_examples=40)
    @given(st.lists(commands, min_size=1, max_size=10))
    def play(sequence: list[tuple[str, int, int, int]]) -> None:
        for command, offset, length, pattern in sequence:
            _apply(client, model, command, offset, length, pattern)
            assert client.pread(length, offset) == model[offset : offset + length]

    play()
    client.flush()
    assert exports.path.read_bytes() == model


def _apply(client: nbd.NBD, model: bytearray, command: str, offset: int, length: int, pattern: int) -> None:
    content = bytes(length)
    if command in ("write", "fua"):
        content = bytes([pattern]) * length
        client.pwrite(content, offset, nbd.CMD_FLAG_FUA if command == "fua" else 0)
    elif command == "zero":
        client.zero(length, offset)
    elif command == "zero no hole":
        client.zero(length, offset, nbd.CMD_FLAG_NO_HOLE)
    elif command == "fast zero":
        try:
            client.zero(length, offset, nbd.CMD_FLAG_FAST_ZERO)
        except nbd.Error as error:
            assert error.errno == "ENOTSUP"
            return
    elif command == "trim":
        offset, length = -(-offset // 4096) * 4096, length // 4096 * 4096
        if length:
            client.trim(length, offset)
        content = bytes(length)
        # A trim is a hint: on this file system it gives blocks back, and they read as zeros.
    elif command == "cache":
        client.cache(length, offset)
        return
    else:
        client.flush()
        return
    model[offset : offset + length] = content


@pytest.mark.row("S069", "S071", "S031")
def test_removing_ends_a_connected_clients_access_at_once(exports: Exports) -> None:
    """A client that is connected loses its export with the removal; nothing of it is left; removing again is fine."""
    spec, uri = exports.up()
    other, other_uri = exports.up()
    client, neighbour = connected(uri), connected(other_uri)
    pid = exports.pid(spec)
    for _ in range(2):
        exports.exporter.remove(spec.id)
    with pytest.raises(nbd.Error):
        client.pread(512, 0)
    with pytest.raises(nbd.Error):
        connected(uri)
    # Gone, or waiting for init to collect it: either way it serves no client.
    assert not Path(f"/proc/{pid}").exists() or stat_of(pid)[0] == "Z"
    assert exports.exporter.inventory() == Inventory((other.id,))
    assert neighbour.pread(512, 0) == bytes(512)


@pytest.mark.row("S068")
def test_an_export_that_was_removed_and_made_again_is_removed_again(exports: Exports) -> None:
    """However often, by the same exporter, which knows what it has removed."""
    spec, uri = exports.up()
    for _ in range(3):
        for _ in range(2):
            exports.exporter.remove(spec.id)
        assert processes.serving(exports.folder / "e") == {}
        uri = str(exports.exporter.ensure(spec).data["uri"])
        client = nbd.NBD()
        client.connect_uri(uri)
        assert client.pread(1, 0) == b"\0"
    exports.exporter.remove(spec.id)
    assert processes.serving(exports.folder / "e") == {}
    with pytest.raises(nbd.Error):
        nbd.NBD().connect_uri(uri)


@pytest.mark.row("S068")
def test_ensure_export_repairs_what_is_lost(exports: Exports) -> None:
    """A killed server, a removed socket and another access mode are repaired; a healthy export is left alone."""
    spec, uri = exports.up()
    connected(uri).pwrite(b"kept" * 128, 0, nbd.CMD_FLAG_FUA)
    first = exports.pid(spec)
    exports.exporter.ensure(spec)
    assert exports.pid(spec) == first
    killed(exports.exporter, spec)
    assert exports.exporter.health(spec.id).fault == "its server does not run"
    exports.exporter.ensure(spec)
    second = exports.pid(spec)
    assert second not in (None, first)
    assert connected(uri).pread(512, 0) == b"kept" * 128
    (exports.folder / "e" / spec.id / "nbd.sock").unlink()
    assert exports.exporter.health(spec.id).fault == "its server does not answer"
    exports.exporter.ensure(spec)
    assert exports.pid(spec) not in (None, second)
    exports.exporter.ensure(ExportSpec(spec.id, spec.volume_id, spec.location, read_only=True))
    assert connected(uri).is_read_only()


def test_stale_socket_and_half_made_folder_are_no_obstacle(exports: Exports) -> None:
    """What a crash left in an export's folder does not keep it from coming up."""
    spec = exports.spec()
    folder = exports.folder / "e" / spec.id
    folder.mkdir()
    (folder / "process").write_text("1 12345")
    (folder / "spec.json").write_text("{")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(folder / "nbd.sock"))
    stale.close()
    exports.exporter.ensure(spec)
    assert exports.exporter.health(spec.id).ok


def test_read_only_export_refuses_writes(exports: Exports) -> None:
    """Neither libnbd nor a client that ignores the flag changes a byte."""
    _, uri = exports.up(read_only=True)
    client = nbd.NBD()
    client.set_strict_mode(0)
    client.connect_uri(uri)
    for attempt in (lambda: client.pwrite(b"x" * 512, 0), lambda: client.zero(512, 0), lambda: client.trim(512, 0)):
        with pytest.raises(nbd.Error):
            attempt()
    assert exports.path.read_bytes() == bytes(SIZE)


@pytest.mark.row("S070", "S008")
def test_without_tls_only_where_the_operator_says_so(exports: Exports) -> None:
    """An export on the network without a key is refused, unless TLS is switched off; then the kernel's client can use it."""
    with pytest.raises(errors.ExportFailed, match="needs a key"):
        exports.up(tcp=True)
    plain = NbdExporter(exports.folder / "p", "here", "127.0.0.1", tls=False, tcp_ports=(12110, 12190))
    remote = Connector(host="elsewhere")
    assert (exports.exporter.accept(remote, AT).needs_secret, plain.accept(remote, AT).needs_secret) == (True, False)
    spec = exports.spec(tcp=True)
    try:
        info = plain.with_secret(plain.ensure(spec), KEY)
        data = info.data
        assert (data["tls"], "tls_psk_key" in data, data["uri"].partition(":")[0]) == (False, False, "nbd")
        assert run("nbdinfo", "--size", data["uri"]).stdout.strip() == str(SIZE)
    finally:
        plain.remove(spec.id)


@pytest.mark.row("S070", "S008")
def test_tls_needs_the_attachments_own_key(exports: Exports) -> None:
    """TCP is reached only with the key of this attachment, which is on no command line and in no log."""
    spec, uri = exports.up(tcp=True, secret=KEY)
    psk = exports.folder / "psk"
    for key, works in ((KEY, True), ("00" * 32, False)):
        psk.write_text(f"{spec.id}:{key}\n")
        assert (run("nbdinfo", "--size", f"{uri}?tls-psk-file={psk}").returncode == 0) is works
    assert run("nbdinfo", "--size", uri.replace("nbds", "nbd")).returncode != 0
    folder = exports.folder / "e" / spec.id
    pid = exports.pid(spec)
    assert KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert KEY not in (folder / "log").read_text() + (folder / "spec.json").read_text()
    assert (folder / "psk").stat().st_mode & 0o777 == 0o600
    assert KEY not in repr(spec)


def test_a_port_in_use_is_passed_over_and_a_full_range_is_said(exports: Exports) -> None:
    """The next free port is taken; when there is none the error names the range."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        narrow = NbdExporter(exports.folder / "n", "me", "127.0.0.1", (port, port))
        with pytest.raises(errors.ExportFailed, match=str(port)):
            narrow.ensure(exports.spec(tcp=True, secret=KEY))
        assert narrow.inventory() == Inventory()


def test_network_without_a_key_is_refused(exports: Exports) -> None:
    """No export listens on the network without a key."""
    with pytest.raises(errors.ExportFailed, match="needs a key"):
        exports.exporter.ensure(exports.spec(tcp=True))


@pytest.mark.row("S072", "S070")
@pytest.mark.parametrize("connector", [{}, {"host": ""}, {"host": 5}, {"host": "me", "initiator": 7}])
def test_connector_that_lacks_something_is_named(exports: Exports, connector: dict[str, Any]) -> None:
    """What is missing or no string is named."""
    with pytest.raises(errors.InvalidInput, match=r"connector\.(host|initiator)"):
        exports.exporter.accept(Connector.parse(connector), AT)


def test_two_exports_of_a_volume_see_each_others_writes(exports: Exports) -> None:
    """Exports of one path share the page cache, so multi-conn is true also between them."""
    (_, one), (_, two) = exports.up(), exports.up()
    connected(one).pwrite(b"shared" + bytes(506), 4096)
    assert connected(two).pread(6, 4096) == b"shared"


def test_grown_volume_is_seen_by_the_next_client(exports: Exports) -> None:
    """A client that connects after an extend sees the new size."""
    _, uri = exports.up()
    os.truncate(exports.path, 2 * SIZE)
    assert connected(uri).get_size() == 2 * SIZE


def test_full_file_system_reaches_the_client(exports: Exports) -> None:
    """ENOSPC of the file system is ENOSPC at the client, and the server lives on."""
    mounted = exports.folder / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mounted)], check=True)
    try:
        exports.path = mounted / "volume"
        with exports.path.open("wb") as file:
            file.truncate(SIZE)
        spec, uri = exports.up()
        client = connected(uri)
        with pytest.raises(nbd.Error) as caught:
            for offset in range(0, SIZE, MiB):
                client.pwrite(b"x" * MiB, offset)
        assert caught.value.errno == "ENOSPC"
        assert client.pread(512, 0) == b"x" * 512
        exports.exporter.remove(spec.id)
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_connections_leak_nothing(exports: Exports) -> None:
    """The server's memory does not grow with the connections that came and went."""
    spec, uri = exports.up()
    pid = exports.pid(spec)

    def visit(times: int) -> int:
        for _ in range(times):
            client = connected(uri)
            for offset in range(0, 64 * 4096, 4096):
                client.pread(4096, offset)
            client.shutdown()
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    before = visit(40)
    # A leak of thread states was 80 KB a connection, which would be 12000 here.
    assert visit(150) - before < 3000


def test_unknown_export_name_is_refused(exports: Exports) -> None:
    """A client that asks for another volume's name gets nothing."""
    _, uri = exports.up()
    assert run("nbdinfo", "--size", uri.replace("volume-", "other-")).returncode != 0
