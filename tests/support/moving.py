"""A service with two backends of two pools each, and what tests of migration and retype do with it."""

import os
from pathlib import Path
from typing import Any

from asking import ask
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.store import promises
from nbdsvc.store.database import Database

# Objects of the simulator have ids of its own making. `small` has room for one volume of 1 GiB.
BACKENDS = """
[solid]
driver = 'file'
options = { pools = { a = 'STATE/a', b = 'STATE/b' } }
[swamp]
driver = 'memory'
options = { pools = { c = 'STATE/c', small = 'STATE/small' }, capacity = { c = 1099511627776, small = 1073741824 }, max_over_subscription_ratio = 1.0, provider_ids = true }
"""
POOLS = {"a": "me@solid#a", "b": "me@solid#b", "c": "me@swamp#c", "small": "me@swamp#small"}
CONTENT = os.urandom(3 << 20)
GIB = 1 << 30


class Moving:
    """The service, with a type for each pool; volumes are 1 GiB, with CONTENT at their start and at their end."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.faults = Faults(service.state / "c", "swamp")
        for pool in POOLS:
            self.new_type(pool, {"pool_name": pool})

    def new_type(self, name: str, specs: dict[str, str]) -> str:
        body = {"volume_type": {"name": name, "extra_specs": specs}}
        status, content, _ = ask(self.service, "POST", "/v3/types", body)
        assert status == 200, content
        return name

    def bound(self, pool: str, **fields: Any) -> str:
        """A volume whose type binds it to this pool."""
        body = {"volume": {"size": 1, "volume_type": pool, **fields}}
        made = self.service.client().post("volumes", body=body)["volume"]["id"]
        assert self.service.wait_status("volumes", made) == "available"
        return str(made)

    def written(self, pool: str = "a") -> str:
        """A volume with bytes that is in this pool, and may be anywhere."""
        id = self.bound(pool)
        with self.path(id).open("r+b") as file:
            file.write(CONTENT)
            file.seek(GIB - len(CONTENT))
            file.write(CONTENT)
        assert self.act(id, "os-retype", new_type="__DEFAULT__") == (202, "None")
        return id

    def objects(self, id: str) -> list[Path]:
        """What there is of the volume in any pool."""
        shown = self.shown(id)
        names = {id, shown.get("provider_id") or id}
        notes = self.service.state / "c" / "provider-ids" / id
        names |= {notes.read_text()} if notes.exists() else set()
        folders = [self.service.state / pool / folder for pool in POOLS for folder in ("volumes", "new")]
        return [path for folder in folders for path in folder.glob("*") if any(name in path.name for name in names)]

    def path(self, id: str) -> Path:
        (found,) = self.objects(id)
        return found

    def is_whole(self, id: str) -> bool:
        """Whether the one object of the volume has its bytes."""
        with self.path(id).open("rb") as file:
            start, hole = file.read(len(CONTENT)), file.read(1 << 20)
            file.seek(GIB - len(CONTENT))
            return start == file.read() == CONTENT and not any(hole)

    def act(self, id: str, name: str, **body: Any) -> tuple[int, str]:
        status, content, _ = ask(self.service, "POST", f"/v3/volumes/{id}/action", {name: body})
        return status, str(content)

    def migrate(self, id: str, pool: str, **body: Any) -> None:
        status, content = self.act(id, "os-migrate_volume", host=POOLS[pool], **body)
        assert status == 202, content

    def shown(self, id: str) -> dict[str, Any]:
        """The volume's row as an administrator sees it; empty where there is none."""
        content = ask(self.service, "GET", f"/v3/volumes/{id}", OpenStack_API_Version="volume 3.71")[1]
        return dict(content.get("volume", {}))

    def place(self, id: str) -> tuple[str, str, str | None]:
        """Its pool, status and migration_status."""
        row = self.shown(id)
        pools = {host: pool for pool, host in POOLS.items()}
        return pools[row["os-vol-host-attr:host"]], row["status"], row["migration_status"]

    def running(self, kind: str = "volume.migrate") -> str:
        """The newest operation of this kind, which is not over."""
        (found,) = self.service.client().get("operations", kind=kind, limit=1, all_tenants=1)["operations"]
        assert found["state"] in ("pending", "running"), found
        return str(found["id"])

    def ended(self, kind: str = "volume.migrate") -> dict[str, Any]:
        """The newest operation of this kind, when all are over."""
        self.service.settle()
        return dict(self.service.client().get("operations", kind=kind, limit=1, all_tenants=1)["operations"][0])

    def wait_room(self) -> None:
        """Until `small` has reported that it is empty."""

        def passes() -> bool:
            path = "/v3/scheduler-stats/placement?size=1&volume_type=small"
            return any(pool["passes"] for pool in ask(self.service, "GET", path)[1]["placement"]["pools"])

        wait_until(passes)

    def slow(self, verb: str, **fault: Any) -> None:
        """Let a verb of the simulator take two seconds, once, or fail."""
        self.faults.plan({verb: [{"delay": 2.0, "times": 1, **fault}]})

    def wait_slow(self) -> None:
        """Until the verb is under way."""
        wait_until((self.service.state / "c" / "faults.count.json").exists)

    def promised(self) -> dict[str, int]:
        """GiB promised in each pool, where there is anything."""
        database = Database(str(self.service.settings.get("database", self.service.state / "nbdsvc.db")))
        try:
            with database.read() as conn:
                sums = promises.by_pool(conn)
        finally:
            database.close()
        return {pool: total // GIB for (_, _, pool), total in sums.items() if total}

    def used(self) -> tuple[int, int]:
        """Volumes and GiB that count against the project's quota."""
        used = self.service.client().get("os-quota-sets", "p1", usage="true")["quota_set"]
        return used["volumes"]["in_use"], used["gigabytes"]["in_use"]

    def remove(self, id: str) -> None:
        """Delete the volume, of which nothing is left then."""
        paths = self.objects(id)
        self.service.client().delete("volumes", id)
        assert self.service.wait_status("volumes", id) == "gone"
        assert not [path for path in paths if path.exists()]
