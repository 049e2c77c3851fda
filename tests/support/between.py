"""Two hosts with a process each and an api, on one PostgreSQL, and what tests of moves between hosts do with them."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asking import ask
from backends import Backend
from host_network import HostNetwork
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.store import promises
from nbdsvc.store.database import Database

GIB = 1 << 30
CONTENT = os.urandom(3 << 20)
KINDS = ("volume.migrate_between_hosts", "volume.retype_between_hosts")
# A host counts as gone after three times this silence.
CLAIM_SECONDS = 1.0
# Bytes of a pool.
CAPACITY = 40 * GIB


class Between:
    """api, and the hosts a and b with a simulator each; volumes are 1 GiB, with CONTENT at their start and at their end.

    network: where each host is in a network namespace of its own.
    """

    def __init__(
        self,
        make_service: Callable[..., ServiceProcess],
        database: str,
        claim_seconds: float = CLAIM_SECONDS,
        network: HostNetwork | None = None,
        **settings: object,
    ) -> None:
        self.database = database
        self._network = network
        self._settings = settings
        self._claim_seconds = claim_seconds
        self.api = self._make(make_service, "api", "api")
        self.a, self.b = (self._make(make_service, name, "host") for name in ("a", "b"))
        self.hosts = {"a": self.a, "b": self.b}
        for each in (self.api, self.a, self.b):
            each.start()
        for name in self.hosts:
            body = {"volume_type": {"name": name, "extra_specs": {"pool_name": f"pool-{name}"}}}
            assert ask(self.api, "POST", "/v3/types", body)[0] == 200

    def _make(self, make_service: Callable[..., ServiceProcess], name: str, role: str) -> ServiceProcess:
        pools = f"pools = {{ pool-{name} = 'STATE/pool' }}, capacity = {{ pool-{name} = {CAPACITY} }}"
        options = f"{{ {pools}, max_over_subscription_ratio = 1.0 }}"
        backends = f"sim = {{ driver = 'memory', options = {options} }}"
        backend = Backend(settings={"backends": backends}, folders=("pool",))
        made = make_service(
            name,
            start=False,
            backend=backend,
            database=self.database,
            host=name,
            nbd_listen=self._network.address(name) if self._network and role == "host" else "127.0.0.1",
            claim_seconds=self._claim_seconds,
            **self._settings,
        )
        made.role = role
        if self._network and role == "host":
            made.launcher = self._network.run_in(name)
        return made

    @property
    def client(self) -> Any:
        return self.api.client()

    def pool(self, host: str) -> str:
        return f"{host}@sim#pool-{host}"

    def faults(self, host: str) -> Faults:
        """The faults of that host's driver."""
        return Faults(self.hosts[host].state / "pool", "sim")

    def written(self, host: str = "a") -> str:
        """A volume with bytes that is on this host, and may be anywhere."""
        made = self.client.post("volumes", body={"volume": {"size": 1, "volume_type": host}})["volume"]["id"]
        assert self.api.wait_status("volumes", made) == "available"
        with self.path(host, made).open("r+b") as file:
            file.write(CONTENT)
            file.seek(GIB - len(CONTENT))
            file.write(CONTENT)
        self.client.act("volumes", made, "os-retype", {"new_type": "__DEFAULT__"})
        return str(made)

    def path(self, host: str, id: str) -> Path:
        return self.hosts[host].state / "pool" / "volumes" / f"volume-{id}"

    def objects(self, id: str) -> dict[str, list[str]]:
        """What there is of the volume on each host that has anything of it."""
        found = {
            name: sorted(path.name for path in (host.state / "pool").rglob(f"*{id}*"))
            for name, host in self.hosts.items()
        }
        return {name: paths for name, paths in found.items() if paths}

    def is_whole(self, host: str, id: str) -> bool:
        with self.path(host, id).open("rb") as file:
            start, hole = file.read(len(CONTENT)), file.read(1 << 20)
            file.seek(GIB - len(CONTENT))
            return start == file.read() == CONTENT and not any(hole)

    def act(self, id: str, name: str, **body: Any) -> tuple[int, str]:
        status, content, _ = ask(self.api, "POST", f"/v3/volumes/{id}/action", {name: body})
        return status, str(content)

    def migrate(self, id: str, host: str = "b", **body: Any) -> None:
        status, content = self.act(id, "os-migrate_volume", host=self.pool(host), **body)
        assert status == 202, content

    def is_up(self, host: str) -> bool:
        """Whether its backend has reported that it works."""
        services = self.client.get("os-services", host=f"{host}@sim")["services"]
        return [each["state"] for each in services] == ["up"]

    def clear(self) -> None:
        """Whatever a test that failed has left."""
        for name, host in self.hosts.items():
            self.faults(name).plan({})
            if host.process and host.process.poll() is not None:
                host.start()
        for row in self.client.get("volumes")["volumes"]:
            self.api.settle()
            self.client.act("volumes", row["id"], "os-reset_status", {"status": "available"})
            self.client.delete("volumes", row["id"])
        self.api.settle()

    def copy_slowly(self, id: str) -> None:
        """Begin to move it to b, and return in the middle of the copy, which goes on by 1 MiB a second."""
        assert self.b.process
        self.b.process.send_signal(signal.SIGSTOP)
        self.migrate(id, lock_volume=True)
        self.client.act("operations", self.operation()["id"], "limit", {"rate": 1 << 20})
        self.b.process.send_signal(signal.SIGCONT)
        wait_until(lambda: self.operation()["progress"]["data"] > 0, facts=self.operation)
        assert self.operation()["state"] == "running"

    def findings(self) -> list[str]:
        return self.api.findings()

    def row(self, id: str) -> dict[str, Any]:
        return dict(self.client.get("volumes", id)["volume"])

    def place(self, id: str) -> tuple[str, str, str | None]:
        """Its host, status and migration_status."""
        row = self.row(id)
        host = str(row["os-vol-host-attr:host"]).partition("@")[0]
        return host, row["status"], row["os-vol-mig-status-attr:migstat"]

    def operation(self, kind: str = KINDS[0]) -> dict[str, Any]:
        """The newest one."""
        return dict(self.client.get("operations", kind=kind, limit=1, all_tenants=1)["operations"][0])

    def ended(self, kind: str = KINDS[0]) -> dict[str, Any]:
        """The newest one, when all are over."""
        self.api.settle()
        return self.operation(kind)

    def promised(self) -> dict[str, int]:
        """GiB promised on each host, where there is anything."""
        database = Database(self.database)
        try:
            with database.read() as conn:
                sums = promises.by_pool(conn)
        finally:
            database.close()
        return {host: total // GIB for (host, _, _), total in sums.items() if total}

    def used(self) -> tuple[int, int]:
        """Volumes and GiB that count against the project's quota."""
        used = self.client.get("os-quota-sets", "p1", usage="true")["quota_set"]
        return used["volumes"]["in_use"], used["gigabytes"]["in_use"]

    def leftovers(self) -> list[str]:
        """On both hosts: exports and their processes, journals and keys, digests and locks; and keys in the database."""
        found = []
        for name, host in self.hosts.items():
            for folder in ("exports", "journals", "digests", "locks"):
                found += [f"{name}: {folder}/{path.name}" for path in (host.state / folder).glob("*")]
            found += [f"{name}: process {pid}" for pid in host.servers()]
        database = Database(self.database)
        try:
            with database.read() as conn:
                found += [f"key {id}" for (id,) in conn.exec_driver_sql("SELECT operation_id FROM operation_secrets")]
                found += [f"place {id}" for (id,) in conn.exec_driver_sql("SELECT id FROM moves")]
        finally:
            database.close()
        return found

    def assert_settled(self, id: str, host: str, status: str, about: object = "") -> None:
        """It is whole, on this host alone, counted once, and nothing is left of its move."""
        wait_until(lambda: self.place(id) == (host, "available", status), facts=lambda: (about, self.place(id)))
        wait_until(lambda: not self.leftovers(), facts=lambda: (about, self.leftovers()))
        assert self.objects(id) == {host: [f"volume-{id}"]}, about
        assert self.is_whole(host, id), about
        assert self.promised() == {host: 1}, about
        assert self.used() == (1, 1), about

    def remove(self, id: str) -> None:
        self.client.delete("volumes", id)
        assert self.api.wait_status("volumes", id) == "gone"
        assert self.objects(id) == {}
