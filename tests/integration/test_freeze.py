"""A freeze under way: what is attached is read and written, what was accepted ends, and nothing slips in between."""

import os
import threading
from collections.abc import Callable
from typing import Any

import nbd
import pytest
from asking import ask
from postgres import Postgres
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

BODY = {"host": "me@file"}
MIB = 1 << 20
ATTACHMENTS = {"OpenStack_API_Version": "volume 3.44"}


@pytest.fixture(params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, make_service: Callable[..., ServiceProcess], postgres: Postgres
) -> ServiceProcess:
    """With the simulator, on either database."""
    more = {"database": postgres.database()} if request.param == "postgresql" else {}
    return make_service(driver="memory", **more)


def send(service: ServiceProcess, verb: str) -> int:
    return ask(service, "PUT", f"/v3/os-services/{verb}", BODY)[0]


def volume(service: ServiceProcess) -> str:
    made = str(service.client().post("volumes", body={"volume": {"size": 1}})["volume"]["id"])
    assert service.wait_status("volumes", made) == "available"
    return made


def attach(service: ServiceProcess, id: str) -> Any:
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
    status, content, _ = ask(service, "POST", "/v3/attachments", body, **ATTACHMENTS)
    assert status == 200, content
    made = content["attachment"]
    ask(service, "POST", f"/v3/attachments/{made['id']}/action", {"os-complete": {}}, **ATTACHMENTS)
    return made


class Writer(threading.Thread):
    """Writes numbered blocks and reads each back, until it is stopped; `error` is why it ended before."""

    def __init__(self, uri: str) -> None:
        super().__init__(daemon=True)
        self._client, self.error, self.done, self.stopping = nbd.NBD(), "", 0, threading.Event()
        self._client.connect_uri(uri)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                block, at = os.urandom(4096), self.done % 1000 * 4096
                self._client.pwrite(block, at)
                self._client.flush()
                assert self._client.pread(4096, at) == block
                self.done += 1
        except (nbd.Error, AssertionError) as error:
            self.error = repr(error)

    def goes_on(self) -> None:
        """Another ten blocks are written."""
        before = self.done
        wait_until(lambda: self.error or self.done >= before + 10, 60 * PATIENCE)
        assert not self.error


@pytest.mark.row("S044", "S087")
def test_the_data_path_goes_on(service: ServiceProcess) -> None:
    """Attached volumes are written and read through freeze and thaw; a server that dies is started again; others are
    attached and detached."""
    id = volume(service)
    made = attach(service, id)
    writer = Writer(made["connection_info"]["uri"])
    writer.start()
    writer.goes_on()
    assert send(service, "freeze") == 200
    writer.goes_on()
    extend = ask(service, "POST", f"/v3/volumes/{id}/action", {"os-extend": {"new_size": 2}}, **ATTACHMENTS)
    assert (extend[0], "is frozen" in str(extend[1])) == (400, True)
    service.kill()
    writer.goes_on()
    service.start()
    assert ask(service, "GET", "/v3/os-services")[1]["services"][0]["frozen"] is True
    writer.goes_on()
    writer.stopping.set()
    writer.join(60 * PATIENCE)
    assert not writer.error
    assert ask(service, "DELETE", f"/v3/attachments/{made['id']}", **ATTACHMENTS)[0] == 200
    again = attach(service, id)
    for pid in service.servers():
        os.kill(pid, 9)
    wait_until(lambda: answers(again["connection_info"]["uri"]), 60 * PATIENCE)
    assert send(service, "thaw") == 200
    assert ask(service, "DELETE", f"/v3/attachments/{again['id']}", **ATTACHMENTS)[0] == 200
    assert ask(service, "DELETE", f"/v3/volumes/{id}")[0] == 202
    assert service.wait_status("volumes", id) == "gone"


def answers(uri: str) -> bool:
    client = nbd.NBD()
    try:
        client.connect_uri(uri)
    except nbd.Error:
        return False
    return True


def test_what_was_accepted_before_runs_to_its_end(service: ServiceProcess) -> None:
    """Also over a kill of the service: only new requests are refused."""
    Faults(service.state / "pool", "file").plan({"create_volume": [{"delay": 2}]})
    made = service.client().post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert send(service, "freeze") == 200
    service.kill()
    service.start()
    assert service.wait_status("volumes", made) == "available"
    assert ask(service, "DELETE", f"/v3/volumes/{made}")[0] == 400


@pytest.mark.row("S044", "S087")
def test_nothing_slips_in_beside_a_freeze(service: ServiceProcess) -> None:
    """Of requests that come at the same moment, those that were accepted were accepted before the freeze was answered."""
    ids = [volume(service) for _ in range(3)]
    for _ in range(5):
        late: list[int] = []
        frozen, started = threading.Event(), threading.Barrier(len(ids) + 1)

        def update(id: str, frozen: threading.Event = frozen, started: threading.Barrier = started,
                   late: list[int] = late) -> None:  # fmt: skip
            started.wait()
            while not frozen.is_set():
                ask(service, "PUT", f"/v3/volumes/{id}", {"volume": {"name": "n"}})
            late.append(ask(service, "PUT", f"/v3/volumes/{id}", {"volume": {"name": "late"}})[0])

        threads = [threading.Thread(target=update, args=(id,)) for id in ids]
        for thread in threads:
            thread.start()
        started.wait()
        assert send(service, "freeze") == 200
        frozen.set()
        for thread in threads:
            thread.join(60 * PATIENCE)
        assert late == [400] * len(ids)
        assert send(service, "thaw") == 200


@pytest.mark.row("S045")
@pytest.mark.parametrize("moment", ["before do", "after do"])
@pytest.mark.parametrize("verb", ["freeze", "thaw"])
def test_killed_while_the_driver_is_notified(service: ServiceProcess, verb: str, moment: str) -> None:
    """A freeze holds from its reply on, and the driver is notified after the next start; a thaw comes to its end then."""
    marker = service.state / "pool" / "frozen"
    if verb == "thaw":
        assert send(service, "freeze") == 200
        service.settle()
    service.crash_at(f"backend.{verb}", moment, "notify")
    try:
        send(service, verb)
    except OSError:  # the service died during the request
        pass
    assert service.wait_dead()
    service.start()
    service.settle()
    row = ask(service, "GET", "/v3/os-services")[1]["services"][0]
    assert (row["frozen"], marker.exists()) == (verb == "freeze", verb == "freeze")
    assert row["status"] == ("disabled" if verb == "freeze" else "enabled")
