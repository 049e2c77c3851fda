"""A host of a cluster dies at a boundary of a step, and another takes over; so dies the one that takes over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from clustered import Clustered
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

MOVE = "volume.migrate_between_hosts"


@dataclass(frozen=True)
class Case:
    """An operation of the host that dies, the step at which it does, and the volume's place and status afterwards.

    status: "gone" where the volume is deleted. place: of b, which takes over, or c, which has the other end of a move.
    """

    kind: str
    moment: str
    step: str
    submit: Callable[[Clustered, str, str], Any]
    status: str = "available"
    place: str = "b@shared#shared"
    at: str = "shared"

    def __str__(self) -> str:
        return f"{self.kind} {self.moment} {self.step} at {self.at}"


def clone(world: Clustered, _host: str, id: str) -> str:
    made = world.good("POST", "volumes", {"volume": {"size": 1, "source_volid": id}})
    return str(made["volume"]["id"])


def delete(world: Clustered, _host: str, id: str) -> None:
    world.good("DELETE", f"volumes/{id}")


def extend(world: Clustered, _host: str, id: str) -> None:
    world.good("POST", f"volumes/{id}/action", {"os-extend": {"new_size": 2}})


def snapshot(world: Clustered, _host: str, id: str) -> None:
    world.good("POST", "snapshots", {"snapshot": {"volume_id": id}})


def connect(world: Clustered, host: str, id: str) -> None:
    """The request waits for its operation, which ends only after the take-over."""
    made = world.good("POST", "attachments", {"attachment": {"volume_uuid": id}})["attachment"]["id"]
    world.ask("PUT", f"attachments/{made}", {"attachment": {"connector": {"host": host, "ip": "127.0.0.1"}}})


def migrate(to: str) -> Callable[[Clustered, str, str], None]:
    def submit(world: Clustered, host: str, id: str) -> None:
        body = {"os-migrate_volume": {"host": to.replace("HOST", host)}}
        world.good("POST", f"volumes/{id}/action", body)

    return submit


AWAY, THERE, ASIDE = migrate("c@own#own"), migrate("HOST@shared#shared"), migrate("c@shared#shared")
CASES = [
    *(Case("volume.create", "after do", step, clone) for step in ("allocate", "fill")),
    *(Case("volume.delete", "after do", step, delete, "gone") for step in ("unexport", "delete")),
    Case("volume.extend", "before do", "extend", extend),
    Case("volume.extend", "after do", "extend", extend),
    Case("snapshot.create", "after do", "take", snapshot),
    Case("volume.migrate_in_cluster", "after do", "leave", ASIDE, place="c@shared#shared"),
    Case(MOVE, "before do", "copy", AWAY),
    Case(MOVE, "before do", "remove", AWAY, place="c@own#own"),
    *(Case(MOVE, "after do", step, THERE, place="c@own#own", at="own") for step in ("create", "serve")),
    Case(MOVE, "after do", "switch", THERE, at="own"),
]


@pytest.fixture(scope="module")
def world(
    module_service: Callable[..., ServiceProcess], postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clustered]:
    made = Clustered(module_service, postgres.database(), tmp_path_factory.mktemp("cluster"))
    made.start("b", "c")
    yield made
    made.database.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whenever_the_host_dies(world: Clustered, case: Case) -> None:
    """The taker ends, undoes or goes on with what was under way: nothing is stuck, no object of the shared storage is lost or
    without a row, and the volume has its bytes."""
    host = f"h{CASES.index(case)}"
    world.start(host)
    id, content = world.written("c" if case.at == "own" else host, case.at)
    world.hosts[host].crash_at(case.kind, case.moment, case.step)
    made = case.submit(world, host, id) or id
    assert world.hosts[host].wait_dead(), f"no process came to {case}"
    world.lose(host)
    status, taken = world.take_over(host, "b")
    assert status == 200, taken
    world.settle()
    for each in {id, made} if case.status != "gone" else set():
        assert world.api.wait_status("volumes", each) == case.status
        assert world.read_file(each) == content
    assert world.place(id) == case.place if case.status != "gone" else not world.row(id)
    wait_until(lambda: not world.leftovers(), 30, world.leftovers)
    for each in world.good("GET", "snapshots")["snapshots"]:
        assert world.api.wait_status("snapshots", each["id"]) == "available"
        world.good("DELETE", f"snapshots/{each['id']}")
    del world.hosts[host]


@pytest.mark.parametrize("moment", ["before do", "after do"])
def test_whenever_the_taker_dies(world: Clustered, moment: str) -> None:
    """It takes up again what it took over: an attachment that was in use is served by it, with its bytes."""
    host = f"t{moment[:1]}"
    world.start(host)
    id, content = world.written(host)
    attached = world.attach(id, host)
    world.hosts["b"].crash_at("attachment.connect", moment, "export")
    world.lose(host)
    assert world.take_over(host, "b")[0] == 200
    assert world.hosts["b"].wait_dead()
    assert world.place(id) == "b@shared#shared"
    world.hosts["b"].start()
    world.wait_served(attached, "b")
    assert world.read("b", attached) == content
    world.good("DELETE", f"attachments/{attached}")
    del world.hosts[host]


def test_a_connection_under_way(world: Clustered) -> None:
    """That ended in the lost host's middle is made by the taker."""
    import threading

    world.start("n")
    id, _ = world.written("n")
    world.hosts["n"].crash_at("attachment.connect", "after do", "export")
    waiting = threading.Thread(target=connect, args=(world, "n", id))
    waiting.start()
    assert world.hosts["n"].wait_dead()
    world.lose("n")
    assert world.take_over("n", "b")[0] == 200
    waiting.join()
    (found,) = world.good("GET", f"attachments?volume_id={id}")["attachments"]
    world.wait_served(found["id"], "b")
    world.good("DELETE", f"attachments/{found['id']}")
    del world.hosts["n"]
