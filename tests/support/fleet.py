"""Hosts and API processes on one PostgreSQL: started, killed, and searched for what is lost, left over or stuck."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from backends import Backend
from host_network import HostNetwork
from serving import UNFINISHED, ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.cli.client import Client
from nbdsvc.store import host_tables, tables
from nbdsvc.store.database import Database

HOSTS = ("h1", "h2", "h3")
APIS = ("api1", "api2")
# Two kinds of pools a host, so that there is somewhere to move to on each. `site` is what a type can ask for a host by.
_BACKENDS = (
    "solid = {{ driver = 'file', options = {{ pool = 'STATE/solid' }}, capabilities = {{ site = '{name}', use = 'plain' }} }}, "
    "quick = {{ driver = 'memory', options = {{ pool = 'STATE/quick' }}, capabilities = {{ site = '{name}', use = 'plain' }} }}"
)
# Of the first host, where a fleet replicates: copies are kept in the folder of another site.
_REPLICATED = (
    ", double = { driver = 'memory-replicated', options = { pool = 'STATE/double', replication_targets = { far = 'STATE/far' } }, "
    "capabilities = { use = 'double' } }"
)
REPLICATED_HOST, REPLICATED = HOSTS[0], f"{HOSTS[0]}@double"
BACKEND = Backend(folders=("solid", "quick"))
FOLDERS = (*BACKEND.folders, "double")
# Files that exist only while an operation, or a process, is at work.
_TRANSIENT = (tables.operation_locks, tables.operation_secrets, tables.moves)


class Member(ServiceProcess):
    """One process of a fleet; requests of its own go to an API process of the fleet."""

    def __init__(self, fleet: "Fleet", name: str, role: str, **settings: object) -> None:
        backends = _BACKENDS.format(name=name) + (_REPLICATED if fleet.replicates and name == REPLICATED_HOST else "")
        given: dict[str, object] = {"host": name, "database": fleet.url, "backends": backends}
        super().__init__(fleet.folder / name, BACKEND, **given | settings)
        self.name, self.role, self._fleet = name, role, fleet

    def client(self, project: str = "p1") -> Client:
        return super().client(project) if self.role == "api" else self._fleet.client(project)

    def files(self) -> list[Path]:
        """Of every volume and snapshot in the pools of this host."""
        return [path for pool in FOLDERS for path in (self.state / pool).glob("[vs]*s/*")]

    def objects(self) -> dict[str, Path]:
        """The same by the file's name; where one is in two pools, AssertionError."""
        paths = self.files()
        found = {path.name: path for path in paths}
        assert len(found) == len(paths), sorted(map(str, paths))
        return found


class Fleet:
    """network: where each host is in a network namespace of its own. replicates: the first host has a backend that does.

    settings: of all processes.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        network: HostNetwork | None = None,
        *,
        replicates: bool = False,
        **settings: object,
    ) -> None:
        self.folder, self.url, self.replicates = folder, url, replicates
        self.hosts = {name: Member(self, name, "host", claim_seconds=5, **settings) for name in HOSTS}
        self.apis = {name: Member(self, name, "api", attach_timeout=10, **settings) for name in APIS}
        self.members: dict[str, Member] = {**self.hosts, **self.apis}
        for name, host in self.hosts.items() if network else ():
            assert network
            host.launcher = network.run_in(name)
            host.settings["NBD_LISTEN"] = network.address(name)
        self._dice = random.Random(1)

    def start(self) -> "Fleet":
        """Every process at once; the first one makes the schema."""
        with ThreadPoolExecutor(len(self.members)) as pool:
            list(pool.map(lambda member: member.start(), self.members.values()))
        return self

    def client(self, project: str = "p1") -> Client:
        """Of any API process that has been started."""
        urls = [api.url for api in self.apis.values() if api.url]
        return Client(self._dice.choice(urls), f"tester:{project}", project)

    def stop(self) -> None:
        with ThreadPoolExecutor(len(self.members)) as pool:
            list(pool.map(_end, self.members.values()))

    def settle(self, seconds: float = 60) -> None:
        """Wait until no operation of any host is unfinished."""
        wait_until(lambda: not self.unfinished(), seconds, lambda: self.report(self.unfinished()))

    def places(self) -> dict[str, str]:
        """host@backend of each volume's and each snapshot's object, by the object's name."""
        hosts = {str(row["id"]): str(row["os-vol-host-attr:host"]).partition("#")[0] for row in self.rows("volumes")}
        found = {f"_snapshot-{row['id']}": hosts.get(row["volume_id"], "") for row in self.rows("snapshots")}
        return found | {f"volume-{id}": host for id, host in hosts.items()}

    def unfinished(self) -> list[dict[str, Any]]:
        client = next(iter(self.apis.values())).client()
        return [
            each for state in UNFINISHED for each in client.get("operations", all_tenants=1, state=state)["operations"]
        ]

    def rows(self, noun: str) -> list[dict[str, Any]]:
        """All rows of this noun, of every project, page by page."""
        client, found = next(iter(self.apis.values())).client(), list[dict[str, Any]]()
        while page := client.get(noun, "detail", all_tenants=1, limit=500, offset=len(found))[noun]:
            found += page
        return found

    @staticmethod
    def report(operations: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        """What a failure says of operations."""
        keys = ("id", "kind", "state", "host", "step_host", "attempts", "error")
        return [tuple(each.get(key) for key in keys) for each in operations]

    def leftovers(self) -> list[str]:
        """What has no owner on any host or in the database, and volumes that are on no host or on two."""
        volumes = {f"volume-{row['id']}": row for row in self.rows("volumes")}
        snapshots = {f"_snapshot-{row['id']}": row for row in self.rows("snapshots")}
        attachments = {row["id"] for row in self.rows("attachments")}
        places: dict[str, list[str]] = {}
        found: list[str] = []
        for name, host in self.hosts.items():
            for path in host.objects():
                places.setdefault(path, []).append(name)
            found += [f"{name}: {each}" for each in self._leftovers_of(host, attachments)]
        found += [f"{name} on {hosts}" for name, hosts in places.items() if len(hosts) > 1]
        found += [f"{name} has no row" for name in places if name not in volumes and name not in snapshots]
        return found + [f"row {each}" for each in self._left_rows()]

    def _leftovers_of(self, host: Member, attachments: set[str]) -> Iterator[str]:
        for pool in FOLDERS:
            yield from (f"new/{path.name}" for path in (host.state / pool / "new").glob("*"))
        copies = {path.name for path in (host.state / "far" / "volumes").glob("*")}
        yield from (f"copy {name} of nothing" for name in copies - set(host.objects()))
        exports = [path for path in (host.state / "exports").iterdir() if path.stem not in attachments]
        yield from (f"export {path.name}" for path in exports)
        yield from (f"journal {path.name}" for path in (host.state / "journals").glob("*"))
        yield from (f"lock {path.name}" for path in (host.state / "locks").iterdir())
        yield from (f"process {pid}" for pid in host.servers() - host._known_servers(attachments))

    def _left_rows(self) -> list[str]:
        database = Database(self.url)
        try:
            with database.read() as conn:
                counts = {
                    each.name: conn.execute(sa.select(sa.func.count()).select_from(each)).scalar()
                    for each in _TRANSIENT
                }
        finally:
            database.close()
        return [f"{name}: {count}" for name, count in counts.items() if count]

    def check_alive(self) -> None:
        """Each thread that a process needs does its work: reports, claims, bells, ends; through each API, on each host."""
        before = self._beats()
        for api in self.apis.values():
            for host in self.hosts:
                _use(api, host)
        wait_until(
            lambda: all(beat > before[name] for name, beat in self._beats().items()),
            30,
            lambda: (before, self._beats()),
        )
        for member in self.members.values():
            assert "Traceback" not in member.log.read_text(), (member.name, _around(member.log))

    def _beats(self) -> dict[str, Any]:
        """Of each host's claim, and the time of each backend's last report."""
        database = Database(self.url)
        claims, backends = host_tables.host_claims.c, tables.backends.c
        try:
            with database.read() as conn:
                found: dict[str, Any] = {
                    f"claim {name}": beat for name, beat in conn.execute(sa.select(claims.host, claims.beat))
                }
                query = sa.select(backends.host, backends.name, backends.updated_at)
                return found | {f"{host}@{name}": at for host, name, at in conn.execute(query)}
        finally:
            database.close()


def _end(member: Member) -> None:
    if member.process:
        member.stop()
    member.end_exports()


def _around(log: Path) -> str:
    text = log.read_text()
    at = text.index("Traceback")
    return text[max(0, at - 300) : at + 3000]


def _use(api: Member, host: str) -> None:
    """A volume's whole life on that host, by that API process."""
    client = api.client("probe")
    name = f"of-{host}"
    try:
        client.post("types", body={"volume_type": {"name": name, "extra_specs": {"site": host}}})
    except errors.Conflict:
        pass  # the other API process has made it already
    made = client.post("volumes", body={"volume": {"size": 1, "volume_type": name}})
    id = str(made["volume"]["id"])
    _wait_available(client, id)
    body = {"attachment": {"volume_uuid": id, "connector": {"host": host, "ip": "127.0.0.1"}}}
    attachment = client.post("attachments", body=body)["attachment"]["id"]
    client.delete("attachments", attachment)
    client.act("volumes", id, "os-extend", {"new_size": 2})
    _wait_available(client, id)
    client.delete("volumes", id)


def _wait_available(client: Client, id: str) -> None:
    row = lambda: client.get("volumes", id)["volume"]  # noqa: E731
    wait_until(lambda: row()["status"] == "available", 30, row)
