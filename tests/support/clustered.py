"""Hosts of one cluster on one shared folder, an API process, and what tests of take-overs do with them."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbd_client
import sqlalchemy as sa
from asking import ask
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.model import clock
from nbdsvc.store import tables
from nbdsvc.store.database import Database

V = {"OpenStack_API_Version": "volume 3.44"}
GIB = 1 << 30
CLAIM_SECONDS = 1.0
_BACKENDS = (
    "shared = {{ driver = '{driver}', options = {{ pool = '{pool}' }} }}, "
    "own = {{ driver = 'memory', cluster = '', options = {{ pool = 'STATE/own' }} }}"
)


class Clustered:
    """api, and hosts of cluster k, each with a backend `shared` on one folder and a backend `own`."""

    def __init__(self, make: Callable[..., ServiceProcess], url: str, folder: Path, driver: str = "file") -> None:
        self._make, self._url, self.pool, self._driver = make, url, folder / "shared", driver
        self.database = Database(url)
        self.hosts: dict[str, ServiceProcess] = {}
        self.api = self._process("api", "api").start()

    def _process(self, name: str, role: str, **settings: Any) -> ServiceProcess:
        made = self._make(name, start=False)
        backends = _BACKENDS.format(driver=self._driver, pool=self.pool)
        made.settings |= {"DATABASE": self._url, "HOST": name, "CLAIM_SECONDS": CLAIM_SECONDS, "CLUSTER": "k",
                          "ATTACH_TIMEOUT": 20.0, "BACKENDS": backends, "NBD_LISTEN": "127.0.0.1", "NBD_TLS": "false",
                          **settings}  # fmt: skip
        made.role = role
        return made

    def host(self, name: str, **settings: Any) -> ServiceProcess:
        """A host that is not started."""
        self.hosts[name] = self._process(name, "host", **settings)
        return self.hosts[name]

    def start(self, *names: str) -> list[ServiceProcess]:
        return [self.host(name).start() for name in names]

    def ask(self, method: str, path: str, body: Any = None, version: str = "3.44") -> tuple[int, Any]:
        return ask(self.api, method, f"/v3/{path}", body, OpenStack_API_Version=f"volume {version}")[:2]

    def good(self, method: str, path: str, body: Any = None) -> Any:
        status, content = self.ask(method, path, body)
        assert status < 300, (path, content)
        return content

    def volume(self, host: str, backend: str = "shared", **given: Any) -> str:
        """A new volume that this host serves."""
        type = f"{host}-{backend}"
        if type not in {each["name"] for each in self.good("GET", "types")["volume_types"]}:
            specs = {"volume_backend_name": backend}
            self.good("POST", "types", {"volume_type": {"name": type, "extra_specs": specs}})
        others = [other for other in self.hosts if other != host]
        for other in others:
            self.good("PUT", "os-services/disable", {"host": other})
        made = self.good("POST", "volumes", {"volume": {"size": 1, "volume_type": type, **given}})["volume"]["id"]
        for other in others:
            self.good("PUT", "os-services/enable", {"host": other})
        return str(made)

    def written(self, host: str, backend: str = "shared") -> tuple[str, bytes]:
        """A volume of this host with bytes at its begin, which may be anywhere."""
        id, content = self.volume(host, backend), os.urandom(4096)
        assert self.api.wait_status("volumes", id) == "available"
        self.good("POST", f"volumes/{id}/action", {"os-retype": {"new_type": "__DEFAULT__"}})
        with self.path(id).open("r+b") as file:
            file.write(content)
        return id, content

    def path(self, id: str) -> Path:
        """On the shared storage, or where its host alone sees it."""
        host, _, place = self.place(id).partition("@")
        pool = self.pool if place.startswith("shared") else self.hosts[host].state / "own"
        return pool / "volumes" / f"volume-{id}"

    def read_file(self, id: str) -> bytes:
        with self.path(id).open("rb") as file:
            return file.read(4096)

    def leftovers(self) -> list[str]:
        """Objects of the shared storage without a row that has them there, and rows of places that moves left."""
        rows = [
            row for row in self.good("GET", "volumes/detail")["volumes"] if "@shared" in row["os-vol-host-attr:host"]
        ]
        known = {f"volume-{row['id']}" for row in rows}
        known |= {f"_snapshot-{row['id']}" for row in self.good("GET", "snapshots")["snapshots"]}
        with self.database.read() as conn:
            places = [f"place {row.id} at {row.host}" for row in conn.execute(sa.select(tables.moves))]
        return sorted(self.objects() ^ known) + places

    def row(self, id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"volumes/{id}")[1].get("volume", {}))

    def place(self, id: str) -> str:
        return str(self.row(id)["os-vol-host-attr:host"])

    def attach(self, id: str, host: str, **connector: Any) -> str:
        fields = {"volume_uuid": id, "connector": {"host": host, "ip": "127.0.0.1", **connector}}
        made = str(self.good("POST", "attachments", {"attachment": fields})["attachment"]["id"])
        self.good("POST", f"attachments/{made}/action", {"os-complete": None})
        return made

    def attachment(self, id: str) -> dict[str, Any]:
        return dict(self.good("GET", f"attachments/{id}")["attachment"])

    def silent(self, name: str) -> None:
        """As if its last report had come an hour ago."""
        with self.database.write() as conn:
            late = tables.backends.update().where(tables.backends.c.host == name)
            conn.execute(late.values(updated_at=clock.now() - timedelta(hours=1)))

    def lose(self, name: str) -> None:
        """It is dead, and cut off from the storage: its exports end."""
        host = self.hosts[name]
        host.kill()
        host.end_exports()
        self.silent(name)

    def take_over(self, name: str, by: str | None = None, **given: Any) -> tuple[int, Any]:
        body = {"host": name, "fenced": True, **({"by": by} if by else {}), **given}
        status, content = self.ask("PUT", "os-services/take-over", body)
        return status, content

    def settle(self) -> None:
        self.api.settle()

    def faults(self, **plan: Any) -> None:
        """Of the simulator on the shared folder, in the next calls of any host."""
        Faults(self.pool, "shared").plan({verb: [fault] for verb, fault in plan.items()})

    def is_served(self, host: str, attachment: str) -> bool:
        return StateDir(self.hosts[host].state / "exports", attachment).socket.exists()

    def served_by(self, attachment: str) -> list[str]:
        return [name for name in self.hosts if self.is_served(name, attachment)]

    def wait_served(self, attachment: str, host: str) -> None:
        """This host alone serves it, and its attachment says where."""
        wait_until(
            lambda: self.served_by(attachment) == [host] and self.attachment(attachment)["connection_info"],
            30,
            lambda: (self.served_by(attachment), self.attachment(attachment), self.api.findings()),
        )

    def read(self, host: str, attachment: str, length: int = 4096) -> bytes:
        """What a client reads at the begin of the export."""
        with nbd_client.connected(StateDir(self.hosts[host].state / "exports", attachment).socket) as sock:
            return nbd_client.read(sock, length)

    def write(self, host: str, attachment: str, content: bytes) -> None:
        with nbd_client.connected(StateDir(self.hosts[host].state / "exports", attachment).socket) as sock:
            nbd_client.write(sock, 0, content)

    def objects(self) -> set[str]:
        """What is in the shared folder of volumes and snapshots."""
        return {path.name for path in self.pool.glob("[vs]*s/*")} | {
            path.name for path in (self.pool / "new").glob("*")
        }

    def used(self) -> tuple[int, int]:
        used = self.good("GET", "os-quota-sets/p1?usage=true")["quota_set"]
        return used["volumes"]["in_use"], used["gigabytes"]["in_use"]

    def start_of(self, process: ServiceProcess) -> str:
        """What a start is refused with."""
        try:
            process.start()
        except AssertionError as error:
            return str(error)
        raise AssertionError("it started")
