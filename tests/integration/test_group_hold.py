"""Group snapshots of volumes in use: real NBD clients write in an order, and no snapshot shows a write without the one before.

A write goes to the next of three volumes only when the one before was acknowledged. So of three snapshots of one moment the
newest write of all, n, is in one, n-1 in the next and n-2 in the third: anything else is not of one moment.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import nbd
import pytest
from backends import CONSISTENT_LIO, INITIATOR, INSTANT, SIMULATED_LIO, Backend
from grouping import Groups
from ordered_writes import LocalWriter, OrderedThread, number_in, of_one_moment
from pools import mounted
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

VOLUMES = 3


class OrderedWriter(OrderedThread):
    """Writes by NBD clients, and knows the longest write."""

    def __init__(self, uris: list[str]) -> None:
        super().__init__()
        self._clients = [nbd.NBD() for _ in uris]
        for client, uri in zip(self._clients, uris, strict=True):
            client.connect_uri(uri)
        self.worst = 0.0

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                number = self.written + 1
                self._clients[number % len(self._clients)].pwrite(number.to_bytes(8, "big"), 0)
                self.written = number
                self.worst = max(self.worst, time.monotonic() - began)
        except nbd.Error as error:
            self.error = str(error)


class Written:
    """A group with three attached volumes, and its writer."""

    writer: OrderedThread

    def __init__(self, service: ServiceProcess, connector: dict[str, str], **specs: str) -> None:
        self.groups, self.pool = Groups(service), service.state / service.backend.folders[0]
        self.faults = Faults(self.pool, service.backend.driver)
        self.group = self.groups.group(VOLUMES, group_type=self.groups.type(**specs))
        self.volumes = self.groups.volumes_of(self.group)
        self.attachments = [self._attach(volume, connector) for volume in self.volumes]

    def _attach(self, volume: str, connector: dict[str, str]) -> dict[str, Any]:
        body = {"attachment": {"volume_uuid": volume, "connector": {"host": "me", "ip": "127.0.0.1", **connector}}}
        made = self.groups.good("POST", "attachments", body)["attachment"]
        self.groups.good("POST", f"attachments/{made['id']}/action", {"os-complete": {}})
        return dict(made)

    def write(self, writer: OrderedThread) -> None:
        writer.start()
        writer.go_on()

    def numbers(self, snapshots: list[dict[str, Any]]) -> list[int]:
        return [number_in(self.pool / "snapshots" / f"_snapshot-{each['id']}") for each in snapshots]

    def text(self) -> str:
        return str(self.groups.newest("group_snapshot.create")["progress"]["text"])

    def end(self) -> None:
        self.writer.stop()
        self.faults.plan({})
        for each in self.attachments:
            self.groups.good("DELETE", f"attachments/{each['id']}")
        for each in self.groups.good("GET", f"group_snapshots?group_id={self.group}")["group_snapshots"]:
            self.groups.good("DELETE", f"group_snapshots/{each['id']}")
        self.groups.service.settle()
        self.groups.delete(self.group)
        assert self.groups.service.leftovers() == []


class Writing(Written):
    """By NBD."""

    def __init__(self, service: ServiceProcess, **specs: str) -> None:
        super().__init__(service, {}, **specs)
        self.writer: OrderedWriter = OrderedWriter([each["connection_info"]["uri"] for each in self.attachments])
        self.write(self.writer)

    def slow(self) -> None:
        """Each snapshot takes so long that many writes fit between two."""
        self.faults.plan({"create_snapshot": [{"when": "after", "delay": 0.05}]})


@pytest.fixture(scope="module")
def service(module_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    return module_service("hold", backend=INSTANT)


@pytest.fixture
def writing(service: ServiceProcess) -> Iterator[Writing]:
    made = Writing(service, consistent_group_snapshot_enabled="<is> True")
    yield made
    made.end()


@pytest.mark.row("S041", "S108")
def test_a_group_snapshot_is_of_one_moment(writing: Writing) -> None:
    """However long the snapshots take: writers wait, stay connected, and go on."""
    writing.slow()
    for _ in range(4):
        whole = writing.groups.snapshot(writing.group)
        numbers = writing.numbers(writing.groups.snapshots_of(whole))
        assert of_one_moment(numbers), numbers
        writing.writer.go_on()
        print(f"{writing.text()}; of writes {numbers}; worst write {writing.writer.worst * 1000:.1f} ms")
        assert "were held for" in writing.text()


@pytest.mark.row("S041", "S108")
def test_on_files_that_share_blocks(module_service: Callable[..., ServiceProcess]) -> None:
    """The file driver on XFS: of one moment, with writers held for no longer than its snapshots take."""
    backend = Backend("file", settings={"driver": "file", "pool": "STATE/xfs/pool"}, folders=("xfs/pool",))
    service = module_service("files", start=False, backend=backend)
    for _ in mounted(service.state, "xfs"):
        service.start()
        writing = Writing(service, consistent_group_snapshot_enabled="<is> True")
        for _ in range(5):
            numbers = writing.numbers(writing.groups.snapshots_of(writing.groups.snapshot(writing.group)))
            assert of_one_moment(numbers), numbers
            print(f"on XFS {writing.text()}; of writes {numbers}")
            writing.writer.go_on()
        writing.end()
        service.stop()
        service.end_exports()


def test_snapshots_by_themselves_are_not(writing: Writing) -> None:
    """The oracle of these tests can fail: three snapshots one after the other, without a hold, are of three moments."""
    writing.slow()
    rows = []
    for volume in writing.volumes:
        body = {"snapshot": {"volume_id": volume, "force": True}}
        rows.append(writing.groups.good("POST", "snapshots", body)["snapshot"])
        assert writing.groups.rest("snapshots", rows[-1]["id"]) == "available"
    assert not of_one_moment(writing.numbers(rows))
    for row in rows:
        writing.groups.good("DELETE", f"snapshots/{row['id']}")


def test_a_server_that_does_not_hold(service: ServiceProcess) -> None:
    """A type that demands one moment gets an error, and nothing stays; another one a snapshot that says that it is not."""
    demanding, other = Writing(service, consistent_group_snapshot_enabled="<is> True"), Writing(service)
    for writing in (demanding, other):
        writing.slow()
        (service.state / "exports" / writing.attachments[1]["id"] / "ctl.sock").unlink()
    failed = demanding.groups.snapshot(demanding.group, "error")
    assert {row["status"] for row in demanding.groups.snapshots_of(failed)} == {"error"}
    assert "not be of one moment" in demanding.groups.newest("group_snapshot.create")["error"]["message"]
    assert list((service.state / "pool" / "snapshots").iterdir()) == []
    taken = other.groups.snapshots_of(other.groups.snapshot(other.group))
    assert "not of one moment" in other.text()
    assert not of_one_moment(other.numbers(taken))
    for writing in (demanding, other):
        writing.writer.go_on()
        writing.writer.stop()
    demanding.end(), other.end()


@pytest.mark.row("S021")
def test_killed_while_writers_are_held(service: ServiceProcess, writing: Writing) -> None:
    """They go on at once, and the snapshots that the next start takes are of one moment too, of a later one."""
    plan = {"create_snapshot": [{"when": "after", "delay": 4, "times": 2}]}
    writing.faults.plan(plan)
    body = {"group_snapshot": {"group_id": writing.group}}
    made = writing.groups.good("POST", "group_snapshots", body)["group_snapshot"]["id"]
    before = [-1]

    def is_held() -> bool:
        last, before[0] = before[0], writing.writer.written
        time.sleep(0.1)
        return last == before[0]

    wait_until(is_held, 20)
    service.kill()
    killed = time.monotonic()
    writing.writer.go_on(1, 3)
    print(f"writers went on {(time.monotonic() - killed) * 1000:.0f} ms after the kill")
    writing.faults.plan({})
    service.start()
    assert writing.groups.rest("group_snapshots", made) == "available"
    assert of_one_moment(writing.numbers(writing.groups.snapshots_of(made)))


def test_a_transport_that_cannot_hold(module_service: Callable[..., ServiceProcess]) -> None:
    """iSCSI: refused with the reason where the type demands one moment; otherwise the operation says that it is not."""
    groups = Groups(module_service("lio", backend=SIMULATED_LIO))
    connector = {"host": "me", "ip": "127.0.0.1", "initiator": INITIATOR}
    for specs, refused in (({"consistent_group_snapshot_enabled": "<is> True"}, True), ({}, False)):
        group = groups.group(1, group_type=groups.type(**specs))
        (volume,) = groups.volumes_of(group)
        body = {"attachment": {"volume_uuid": volume, "connector": connector}}
        made = groups.good("POST", "attachments", body)["attachment"]["id"]
        groups.good("POST", f"attachments/{made}/action", {"os-complete": {}})
        if refused:
            body = {"group_snapshot": {"group_id": group}}
            assert "cannot hold its writers" in groups.refused("POST", "group_snapshots", body)
        else:
            whole = groups.snapshot(group)
            text = groups.newest("group_snapshot.create")["progress"]["text"]
            assert text == "not of one moment: exports by iSCSI cannot hold their writers"
            groups.good("DELETE", f"group_snapshots/{whole}")
        groups.good("DELETE", f"attachments/{made}")
        groups.service.settle()
        groups.delete(group)


class BySimulatedIscsi(Written):
    """By a simulated initiator, which writes past the service, as LIO does."""

    def __init__(self, service: ServiceProcess) -> None:
        super().__init__(service, {"initiator": INITIATOR}, consistent_group_snapshot_enabled="<is> True")
        files = [self.pool / "volumes" / f"volume-{each}" for each in self.volumes]
        self.writer = LocalWriter(files, [self.pool / "held" / each for each in self.volumes])
        self.write(self.writer)

    def numbers_in(self, whole: str) -> list[int]:
        return self.numbers(self.groups.snapshots_of(whole))


@pytest.fixture(scope="module")
def consistent(module_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    return module_service("consistent", backend=CONSISTENT_LIO)


@pytest.fixture
def iscsi(consistent: ServiceProcess) -> Iterator[BySimulatedIscsi]:
    made = BySimulatedIscsi(consistent)
    yield made
    made.end()


@pytest.mark.row("S041", "S108")
def test_by_a_driver_that_takes_snapshots_of_one_moment(iscsi: BySimulatedIscsi) -> None:
    """By iSCSI, whose exports cannot hold writers: nothing is refused, and what took how long is with the operation."""
    for _ in range(4):
        numbers = iscsi.numbers_in(iscsi.groups.snapshot(iscsi.group))
        assert of_one_moment(numbers), numbers
        assert "writers of 3 exports were held for" in iscsi.text()
        iscsi.writer.go_on()


@pytest.mark.row("S041")
@pytest.mark.parametrize("verb", ["prepare_snapshots", "take_snapshots", "finish_snapshots"])
def test_a_driver_that_fails_leaves_nothing(iscsi: BySimulatedIscsi, verb: str) -> None:
    """The group snapshot is in error with the reason, no object stays, and the next one is whole."""
    faults = iscsi.faults
    faults.plan({verb: [{"when": "after", "error": "BackendUnavailable", "times": 1}]})
    failed = iscsi.groups.snapshot(iscsi.group, "error")
    assert "simulated fault" in iscsi.groups.newest("group_snapshot.create")["error"]["message"]
    assert list((iscsi.pool / "snapshots").iterdir()) == []
    iscsi.writer.go_on()
    assert of_one_moment(iscsi.numbers_in(iscsi.groups.snapshot(iscsi.group)))
    iscsi.groups.good("DELETE", f"group_snapshots/{failed}")


@pytest.mark.row("S021", "S041")
@pytest.mark.parametrize("verb", ["prepare_snapshots", "take_snapshots", "finish_snapshots"])
def test_killed_while_a_driver_takes_them(consistent: ServiceProcess, iscsi: BySimulatedIscsi, verb: str) -> None:
    """Between any two of its calls: what it had made is removed, and taken again at a later moment."""
    iscsi.faults.plan({verb: [{"when": "after", "delay": 60, "times": 1}]})
    begun = iscsi.pool / "faults.count.json"
    body = {"group_snapshot": {"group_id": iscsi.group}}
    made = iscsi.groups.good("POST", "group_snapshots", body)["group_snapshot"]["id"]
    wait_until(lambda: begun.exists() and verb in begun.read_text())
    before = iscsi.writer.written
    iscsi.writer.go_on()
    consistent.kill()
    iscsi.faults.plan({})
    consistent.start()
    assert iscsi.groups.rest("group_snapshots", made) == "available"
    numbers = iscsi.numbers_in(made)
    assert of_one_moment(numbers), numbers
    assert max(numbers) > before
