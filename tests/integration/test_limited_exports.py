"""Limits that exports keep their clients to: counted by the clock of this host, where a slow machine only makes them wait longer."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import nbd
import pytest
from exporting import SIZE, Exports
from waiting import end_of, wait_until

from nbdsvc import errors
from nbdsvc.exporter import ExportSpec, LimitingExporter
from nbdsvc.exports.nbd import limits as of_volume
from nbdsvc.exports.nbd import processes
from nbdsvc.location import Location
from nbdsvc.model import names

BLOCK = 4096
# A request behind another one waits for an hour.
NEVER = {"read_bytes_sec": 1}


def connected(uri: str) -> nbd.NBD:
    client = nbd.NBD()
    client.connect_uri(uri)
    return client


def is_done(client: nbd.NBD, cookie: int) -> bool:
    client.poll(0)
    return bool(client.aio_command_completed(cookie))


def seconds_of(clients: list[nbd.NBD], count: int, kind: str = "read") -> float:
    """Of `count` requests of each client, all clients at once, sixteen of each under way."""
    began = time.monotonic()
    threads = [threading.Thread(target=_send, args=(client, count, kind)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def _send(client: nbd.NBD, count: int, kind: str) -> None:
    under_way: list[int] = []
    for number in range(count):
        if kind == "read":
            under_way.append(client.aio_pread(nbd.Buffer(BLOCK), number * BLOCK))
        else:
            under_way.append(client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(BLOCK)), number * BLOCK))
        while len(under_way) >= 16:
            client.poll(-1)
            under_way = [cookie for cookie in under_way if not client.aio_command_completed(cookie)]
    for cookie in under_way:
        while not client.aio_command_completed(cookie):
            client.poll(-1)


def least(units: int, rate: int, largest: int = 1) -> float:
    """Seconds that so many units take: what goes at once is a tenth of a second's, and the request that goes over it."""
    return (units - rate / 10 - largest) / rate


def server_of(exports: Exports, spec: ExportSpec) -> int:
    """0 while there is none."""
    keeper = exports.pid(spec)
    found = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return int(found[0]) if found else 0


@pytest.mark.parametrize(
    ("limits", "kind", "expected"),
    [
        ({"read_iops_sec": 100}, "read", least(120, 100)),
        ({"total_iops_sec": 100}, "write", least(120, 100)),
        ({"write_bytes_sec": 400_000}, "write", least(120 * BLOCK, 400_000, BLOCK)),
        ({"total_bytes_sec": 400_000, "total_iops_sec": 10**6}, "read", least(120 * BLOCK, 400_000, BLOCK)),
        ({"total_iops_sec": 200, "size_iops_sec": 2048}, "read", least(240, 200, 2)),
        ({"read_iops_sec": 50, "read_iops_sec_max": 60}, "read", (120 - 60 - 1) / 50),
    ],
)  # fmt: skip
def test_requests_take_the_time_that_a_limit_gives_them(
    exports: Exports, limits: dict[str, int], kind: str, expected: float
) -> None:
    """Sixteen requests at once or one. The server says the limits that it keeps to."""
    spec, uri = exports.up(limits=limits)
    assert isinstance(exports.exporter, LimitingExporter)
    assert exports.exporter.limits(spec.id) == limits
    assert seconds_of([connected(uri)], 120, kind) >= expected


def test_zeros_count_as_writes_and_a_trim_as_one_without_bytes(exports: Exports) -> None:
    """Zeros take the bytes that they are; a trim of everything is an operation."""
    spec, uri = exports.up(limits={"write_bytes_sec": 400_000})
    client = connected(uri)
    client.trim(1 << 20, 0)
    began = time.monotonic()
    for number in range(5):
        client.zero(100_000, number * 100_000)
    assert time.monotonic() - began >= (4 * 100_000 - 40_000) / 400_000
    exports.exporter.limit_clients(spec.id, {"write_iops_sec": 20})
    began = time.monotonic()
    for number in range(20):
        client.trim(BLOCK, number * BLOCK)
    assert time.monotonic() - began >= least(20, 20)


def test_all_connections_and_attachments_of_a_volume_share_a_limit(exports: Exports) -> None:
    """Two exports of one volume, one of them read-only, with two connections each. Another volume has its own."""
    limits = {"read_iops_sec": 100}
    spec, uri = exports.up(limits=limits)
    second = replace(spec, id=names.new_id(), read_only=True)
    clients = [connected(each) for each in (uri, str(exports.exporter.ensure(second).data["uri"])) for _ in range(2)]
    assert seconds_of(clients, 40) >= least(160, 100)
    _, other = exports.up(limits=limits)
    clients[0].aio_pread(nbd.Buffer(BLOCK), 0)
    assert connected(other).pread(BLOCK, 0) == bytes(BLOCK)


def test_connections_share_a_limit_whatever_their_depth(exports: Exports) -> None:
    """One with sixteen requests at once, another attachment's with three: not five times as many are served of the first."""
    spec, uri = exports.up(limits={"read_iops_sec": 100})
    second = replace(spec, id=names.new_id())
    deep, shallow = connected(uri), connected(str(exports.exporter.ensure(second).data["uri"]))
    reads = {id(deep): [deep.aio_pread(nbd.Buffer(BLOCK), 0) for _ in range(16)],
             id(shallow): [shallow.aio_pread(nbd.Buffer(BLOCK), 0) for _ in range(3)]}  # fmt: skip
    counts = {id(deep): 0, id(shallow): 0}
    while sum(counts.values()) < 150:
        for client in (deep, shallow):
            client.poll(1)
            left = [read for read in reads[id(client)] if not client.aio_command_completed(read)]
            done = len(reads[id(client)]) - len(left)
            counts[id(client)] += done
            reads[id(client)] = left + [client.aio_pread(nbd.Buffer(BLOCK), 0) for _ in range(done)]
    assert counts[id(deep)] < 2.5 * counts[id(shallow)]


def test_a_mirror_does_not_count(exports: Exports) -> None:
    """It copies all of a volume whose clients wait for an hour, and they go on at its destination with their limits."""
    limits = {"total_bytes_sec": 1}
    spec, uri = exports.up(limits=limits)
    client = connected(uri)
    client.pwrite(b"w" * BLOCK, 0)
    waits = client.aio_pread(nbd.Buffer(BLOCK), 0)
    destination = exports.folder / "destination"
    with destination.open("wb") as file:
        file.truncate(SIZE)
    exports.exporter.start_mirror(spec.id, Location.file(destination), is_zero=True)
    wait_until(lambda: exports.exporter.mirror_state(spec.id).state == "synchronised")
    exports.exporter.switch_mirror(spec.id)
    assert exports.exporter.limits(spec.id) == limits
    assert not is_done(client, waits)
    exports.exporter.limit_clients(spec.id, {})
    wait_until(lambda: is_done(client, waits))
    assert destination.read_bytes()[:BLOCK] == b"w" * BLOCK


def test_what_waits_stops_nothing_else(exports: Exports) -> None:
    """Reads that wait for an hour: writes, a flush, other commands, a hold of writers, and the end of the connection go on."""
    spec, uri = exports.up(limits=NEVER)
    client = connected(uri)
    assert client.pread(BLOCK, 0) == bytes(BLOCK)
    reads = [client.aio_pread(nbd.Buffer(BLOCK), 0) for _ in range(15)]

    def others() -> None:
        for number in range(100):
            client.pwrite(b"w" * BLOCK, number * BLOCK)
        client.flush()
        assert client.get_size() > 0
        assert exports.exporter.hold_writes(spec.id, 20).release()

    end_of(others)
    assert not any(is_done(client, read) for read in reads)
    server = server_of(exports, spec)
    busy = threads_of(server)
    end_of(lambda: client.shutdown(nbd.SHUTDOWN_ABANDON_PENDING))
    wait_until(lambda: threads_of(server) <= busy - 16)


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_limits_change_while_clients_wait(exports: Exports) -> None:
    """Raised, lowered and taken away without a new connection, for every export of the volume."""
    spec, uri = exports.up()
    client = connected(uri)
    seconds_of([client], 500)
    exports.exporter.limit_clients(spec.id, NEVER)
    assert client.pread(BLOCK, 0) == bytes(BLOCK)
    read = client.aio_pread(nbd.Buffer(BLOCK), 0)
    assert not is_done(client, read)
    exports.exporter.limit_clients(spec.id, {"read_iops_sec": 100})
    wait_until(lambda: is_done(client, read))
    assert exports.exporter.limits(spec.id) == {"read_iops_sec": 100}
    assert seconds_of([client], 120) >= least(120, 100, 2) - 0.1
    second = replace(spec, id=names.new_id(), limits={"read_iops_sec": 100})
    exports.exporter.ensure(second)
    exports.exporter.limit_clients(spec.id, NEVER)
    assert exports.exporter.limits(second.id) == NEVER
    exports.exporter.limit_clients(second.id, {})
    assert exports.exporter.limits(spec.id) == {}
    end_of(lambda: seconds_of([client], 500), 60)


def test_a_killed_server_comes_back_with_its_limits(exports: Exports) -> None:
    """By its shell, and by a repair after both were killed: those of the last change. What it had locked is free."""
    spec, uri = exports.up(limits={"read_iops_sec": 1000})
    limits = {"read_iops_sec": 100, "read_iops_sec_max": 150, "read_iops_sec_max_length": 2}
    exports.exporter.limit_clients(spec.id, limits)
    server = server_of(exports, spec)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: server_of(exports, spec) not in (0, server) and exports.exporter.health(spec.id).ok)
    assert exports.exporter.limits(spec.id) == limits
    processes.end(exports.folder / "e", spec.id)
    uri = str(exports.exporter.ensure(replace(spec, limits=limits)).data["uri"])
    assert exports.exporter.limits(spec.id) == limits
    assert seconds_of([connected(uri)], 400) >= (400 - 300 - 1) / 100


def test_an_export_that_is_there_gets_the_limits_of_its_spec(exports: Exports) -> None:
    """By `ensure`, without a new server."""
    spec, _ = exports.up()
    before = exports.pid(spec)
    for limits in ({"total_iops_sec": 5}, {}, {"write_bytes_sec": 7, "size_iops_sec": 4096}):
        exports.exporter.ensure(replace(spec, limits=limits))
        assert exports.exporter.limits(spec.id) == limits
    assert exports.pid(spec) == before


def test_nothing_of_limits_is_left(exports: Exports) -> None:
    """The memory that the servers of a volume share goes with the last of them; without limits there is none."""
    spec, _ = exports.up()
    shared = of_volume.shared_path(exports.folder / "e", spec.volume_id)
    assert not shared.exists()
    second = replace(spec, id=names.new_id(), limits=NEVER)
    exports.exporter.ensure(second)
    exports.exporter.limit_clients(spec.id, NEVER)
    assert shared.stat().st_mode & 0o777 == 0o600
    exports.exporter.remove(spec.id)
    assert shared.exists()
    exports.exporter.remove(second.id)
    assert not shared.exists()


def test_limits_that_cannot_be_kept_are_no_export(exports: Exports) -> None:
    """Something else has the name of the shared memory: the export fails, and says why; so does a change."""
    spec = exports.spec(limits=NEVER)
    shared = of_volume.shared_path(exports.folder / "e", spec.volume_id)
    shared.mkdir()
    try:
        with pytest.raises(errors.ExportFailed, match="limits"):
            exports.exporter.ensure(spec)
        exports.exporter.ensure(replace(spec, limits={}))
        with pytest.raises(errors.ExportFailed, match="limits"):
            exports.exporter.limit_clients(spec.id, NEVER)
    finally:
        shared.rmdir()


def test_a_bad_command_changes_nothing(exports: Exports) -> None:
    """A key that the server does not know, of a newer service, and a value that is no number."""
    spec, _ = exports.up(limits={"read_iops_sec": 5})
    for limits in ({"read_iops_sec": 7, "new_key": 1}, {"read_iops_sec": "x"}, []):
        with pytest.raises(errors.ExportFailed, match="malformed"):
            exports.exporter._command(spec.id, do="limit_clients", limits=limits)
    assert exports.exporter.limits(spec.id) == {"read_iops_sec": 5}
