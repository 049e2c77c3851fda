"""A host that is lost, one that returns, and another machine of the same name: processes of hosts on one PostgreSQL."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from asking import ask
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.model import clock
from nbdsvc.store import tables
from nbdsvc.store.database import Database

V = {"OpenStack_API_Version": "volume 3.44"}


class Hosts:
    """An API process and hosts, each with a simulator of its own; all on one database."""

    def __init__(self, make: Callable[..., ServiceProcess], url: str) -> None:
        self._make, self._url = make, url
        self.database = Database(url)
        self.api = self._process("api", "api")
        self.hosts: list[str] = []
        self.api.start()
        self.start("b")

    def _process(self, folder: str, role: str, **settings: Any) -> ServiceProcess:
        shared = {"DATABASE": self._url, "DRIVER": "memory", "CLAIM_SECONDS": 1.0, "ATTACH_TIMEOUT": 20.0}
        made = self._make(folder, start=False)
        made.settings |= {**shared, **settings}
        made.role = role
        return made

    def start(self, name: str) -> ServiceProcess:
        """A host of this name."""
        self.hosts.append(name)
        return self._process(name, "host", HOST=name).start()

    def other_machine(self, name: str) -> ServiceProcess:
        """A machine of that host's name with a folder and a pool of its own. Not started."""
        return self._process(f"new-{name}", "host", HOST=name)

    def faults(self, host: ServiceProcess, **plan: Any) -> None:
        Faults(host.state / "pool", "file").plan({verb: [fault] for verb, fault in plan.items()})

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return ask(self.api, method, f"/v3/{path}", body, **V)[:2]

    def disabled(self, name: str, wanted: bool) -> None:
        assert self.ask("PUT", f"os-services/{'disable' if wanted else 'enable'}", {"host": name})[0] == 200

    def volume(self, name: str, *, wait: bool = True) -> str:
        """A new volume on that host."""
        for other in self.hosts:
            self.disabled(other, other != name)
        status, content = self.ask("POST", "volumes", {"volume": {"size": 1}})
        assert status == 202, content
        self.disabled("b", False)
        id = str(content["volume"]["id"])
        assert not wait or self.api.wait_status("volumes", id) == "available"
        return id

    def attach(self, id: str, host: str) -> str:
        fields = {"volume_uuid": id, "connector": {"host": host, "ip": "127.0.0.1"}}
        status, content = self.ask("POST", "attachments", {"attachment": fields})
        assert status == 200, content
        return str(content["attachment"]["id"])

    def row(self, id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"volumes/{id}")[1].get("volume", {}))

    def silent(self, name: str) -> None:
        """As if its last report had come an hour ago."""
        with self.database.write() as conn:
            late = tables.backends.update().where(tables.backends.c.host == name)
            conn.execute(late.values(updated_at=clock.now() - timedelta(hours=1)))

    def lose(self, name: str) -> dict[str, Any]:
        status, content = self.ask("PUT", "os-services/lost", {"host": name, "fenced": True})
        assert status == 200, content
        return dict(content["lost"])

    def start_of(self, process: ServiceProcess) -> str:
        """What a start is refused with."""
        with pytest.raises(AssertionError, match="did not start") as refused:
            process.start()
        return str(refused.value)


@pytest.fixture(scope="module")
def world(module_service: Callable[..., ServiceProcess], postgres: Postgres) -> Iterator[Hosts]:
    made = Hosts(module_service, postgres.database())
    yield made
    made.database.close()


def is_served(host: ServiceProcess, attachment: str) -> bool:
    return StateDir(host.state / "exports", attachment).socket.exists()


def test_nothing_waits_for_a_lost_host(world: Hosts) -> None:
    """Without the word that it is fenced, or while it reports, it is refused. Then what was under way there ends: a creation
    goes on elsewhere, a deletion has succeeded, attachments are gone; and so does what is submitted later. A start is refused,
    after its exports were ended; until it may return."""
    a = world.start("a")
    kept, leaving = world.volume("a"), world.volume("a")
    attachment = world.attach(kept, "a")
    world.faults(a, create_volume={"delay": 60}, delete_volume={"delay": 60})
    coming = world.volume("a", wait=False)
    world.ask("DELETE", f"volumes/{leaving}")
    wait_until(lambda: world.row(leaving).get("status") == "deleting")
    a.kill()
    assert world.ask("PUT", "os-services/lost", {"host": "a"})[0] == 400
    status, content = world.ask("PUT", "os-services/lost", {"host": "a", "fenced": True})
    assert (status, " s ago" in str(content)) == (409, True), content
    assert world.ask("PUT", "os-services/lost", {"host": "x", "fenced": True})[0] == 404
    world.silent("a")
    assert world.lose("a") == {"volumes": 3, "attachments": 1, "operations": 2}
    wait_until(lambda: not world.row(leaving) and world.row(coming)["status"] == "available", 30)
    assert world.row(coming)["os-vol-host-attr:host"].startswith("b@")
    assert (world.row(kept)["status"], world.row(kept)["attachments"]) == ("available", [])
    assert world.ask("GET", "attachments")[1]["attachments"] == []
    fields = {"volume_uuid": kept, "connector": {"host": "a", "ip": "127.0.0.1"}}
    status, content = world.ask("POST", "attachments", {"attachment": fields})
    assert (status, "declared lost" in str(content)) == (503, True), content
    assert is_served(a, attachment)
    assert "host a was declared lost" in world.start_of(a)
    assert not is_served(a, attachment)
    assert world.ask("PUT", "os-services/return", {"host": "b"})[0] == 400
    assert world.ask("PUT", "os-services/return", {"host": "a"})[0] == 200
    world.faults(a)
    assert "have no row in the database" in world.start_of(a)  # what was deleted without it
    a.settings["UNKNOWN_OBJECTS"] = "leave"
    a.start()
    assert world.row(kept)["status"] in ("available", "error_attaching")
    world.ask("POST", f"volumes/{kept}/action", {"os-force_delete": {}})
    assert world.api.wait_status("volumes", kept) == "gone"
    assert not (a.state / "pool" / "volumes" / f"volume-{kept}").exists()


def test_another_machine_does_not_start_without_the_volumes(world: Hosts) -> None:
    """Of the same name with an empty pool: refused, with the volumes and the way out. That way it starts, and they are
    errors. Its own folder knows it again."""
    first = world.start("c")
    id = world.volume("c")
    assert first.stop() == 0
    other = world.other_machine("c")
    refused = world.start_of(other)
    assert "another machine" in refused
    assert id in refused
    assert "nbdsvc host lost c --fenced" in refused
    assert first.start().stop() == 0
    world.silent("c")
    world.lose("c")
    assert world.ask("PUT", "os-services/return", {"host": "c"})[0] == 200
    other.start()
    assert world.row(id)["status"] == "error"
    assert other.stop() == 0
    other.start()


def test_who_wakes_up_lost_ends_its_exports(world: Hosts) -> None:
    """A process that was paused while its host was declared lost ends its exports when it wakes, and does nothing more."""
    host = world.start("d")
    id = world.volume("d")
    attachment = world.attach(id, "d")
    assert host.process
    host.process.send_signal(signal.SIGSTOP)
    try:
        world.silent("d")
        world.lose("d")
        assert is_served(host, attachment)
    finally:
        host.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not is_served(host, attachment))
    world.ask("DELETE", f"volumes/{id}")
    assert world.api.wait_status("volumes", id) == "gone"
    assert (host.state / "pool" / "volumes" / f"volume-{id}").exists()


def test_the_verbs(world: Hosts) -> None:
    """`host lost` and `host return`: refused with status 4 and the reason."""
    environment = {**os.environ, "NBDSVC_ENDPOINT": world.api.url, "NBDSVC_PROJECT": "p1"}

    def nbdsvc(*arguments: str) -> tuple[int, str]:
        argv = [sys.executable, "-m", "nbdsvc", "host", *arguments]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    assert nbdsvc("lost", "b")[0] == 4
    status, shown = nbdsvc("lost", "b", "--fenced")
    assert (status, "reported" in shown) == (4, True)
    assert nbdsvc("return", "b")[0] == 4
    assert nbdsvc("lost", "x", "--fenced")[0] == 3
