"""Killed at every step of a backup, a restore or a deletion, a service goes on: no half backup, nothing left behind."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from killing import BACKWARD, FORWARD
from serving import ServiceProcess

from nbdsvc import errors
from nbdsvc.operation_types import TYPES_BY_NAME

CONNECTOR = {"host": "me", "ip": "127.0.0.1"}
WRITTEN = b"backed up" * 1000


class World:
    """A service of the simulator, with a volume in use that has a backup."""

    def __init__(self, service: ServiceProcess, database: str) -> None:
        self.service = service
        self.database = database
        self.volume = self.new_volume()
        with self.path(self.volume).open("r+b") as file:
            file.write(WRITTEN)
        self.client.post("attachments", body={"attachment": {"volume_uuid": self.volume, "connector": CONNECTOR}})
        made = self.client.get("attachments")["attachments"][0]["id"]
        self.client.act("attachments", made, "os-complete")
        self.backup = self.new_backup()

    @property
    def client(self) -> Any:
        return self.service.client()

    def path(self, volume: str) -> Any:
        return self.service.backend.volume(self.service.state, volume)

    def new_volume(self) -> str:
        made = str(self.client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"])
        assert self.service.wait_status("volumes", made) == "available"
        return made

    def new_backup(self) -> str:
        made = str(self.client.post("backups", body=self.wanted())["backup"]["id"])
        assert self.service.wait_status("backups", made) == "available"
        return made

    def wanted(self) -> Any:
        return {"backup": {"volume_id": self.volume, "force": True}}

    def killed_at(self, kind: str, moment: str, step: str, request: Callable[[], Any]) -> str:
        """Run the request into the kill, and start again; how the operation ended."""
        last = TYPES_BY_NAME[kind].steps[-1].name
        self.service.crash_at(kind, moment, step, last if moment in BACKWARD else None)
        with contextlib.suppress(errors.Error):  # the service may die before it answers
            request()
        assert self.service.wait_dead(), (kind, moment, step)
        self.service.start()
        self.service.settle()
        newest = self.client.get("operations", kind=kind, limit=1, all_tenants=1)["operations"][0]
        return str(newest["state"])

    def assert_clean(self, where: object) -> None:
        """Rows at rest, no temporary snapshot, no session, no trash; only chunks that a backup needs, each whole."""
        backups = self.client.get("backups", "detail")["backups"]
        assert {row["status"] for row in backups} <= {"available", "error"}, where
        assert self.client.get("volumes", self.volume)["volume"]["status"] == "in-use", where
        store = self.service.state / "backups" / "spaces"
        whole = {row["id"] for row in backups if row["status"] == "available"}
        assert {path.name for path in store.glob("*/manifests/*")} == whole, where
        assert [*store.glob("*/sessions/*"), *store.glob("*/trash/*")] == [], where
        assert len(list(store.glob("*/chunks/*/*"))) == 1, where
        assert self.service.leftovers() == [], where
        assert [*(self.service.state / "journals").glob("*")] == [], where

    def restored(self, volume: str) -> bool:
        with self.path(volume).open("rb") as file:
            return bool(file.read(len(WRITTEN)) == WRITTEN)


# `make test-kills` kills everywhere.
SOME = {
    ("backup.create", "sqlite"): [("after do", "write"), ("before do", "remove device"), ("before undo", "device")],
    ("backup.create", "postgresql"): [("after do", "device")],
    ("backup.restore", "sqlite"): [("after do", "allocate"), ("before undo", "allocate")],
    ("backup.restore", "postgresql"): [("after do", "restore")],
}


def cases(kind: str, database: str) -> list[tuple[str, str]]:
    """The moments and steps at which the service is killed."""
    if os.environ.get("NBDSVC_TEST_KILLS") != "all":
        return SOME[kind, database]
    steps = TYPES_BY_NAME[kind].steps
    return [(moment, step.name) for step in steps for moment in FORWARD + BACKWARD if moment in FORWARD or step.undo]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, module_service: Callable[..., ServiceProcess]) -> World:
    given: dict[str, Any] = {"driver": "memory"}
    if request.param == "postgresql":
        given["database"] = request.getfixturevalue("postgres").database()
    return World(module_service(request.param, **given), request.param)


@pytest.mark.row("S021", "S076")
@pytest.mark.timeout(300)
def test_a_backup_goes_on_after_a_kill(world: World) -> None:
    """It is whole, or failed and gone; the temporary snapshot goes away in any case."""
    for moment, step in cases("backup.create", world.database):
        before = {row["id"] for row in world.client.get("backups")["backups"]}
        state = world.killed_at(
            "backup.create", moment, step, lambda: world.client.post("backups", body=world.wanted())
        )
        assert state == ("failed" if moment in BACKWARD else "succeeded"), (moment, step)
        world.assert_clean((moment, step))
        for row in world.client.get("backups", "detail")["backups"]:
            if row["id"] not in before:
                assert row["status"] == ("error" if moment in BACKWARD else "available"), (moment, step)
                world.client.delete("backups", row["id"])
                assert world.service.wait_status("backups", row["id"]) == "gone"


@pytest.mark.row("S076")
@pytest.mark.timeout(300)
def test_a_restore_goes_on_after_a_kill(world: World) -> None:
    """A new volume has all bytes, or is an error without an object; one that was overwritten has all bytes in the end."""
    for moment, step in cases("backup.restore", world.database):
        body = {"restore": {}}
        state = world.killed_at(
            "backup.restore", moment, step, lambda: world.client.post("backups", world.backup, "restore", body=body)
        )
        assert state == ("failed" if moment in BACKWARD else "succeeded"), (moment, step)
        world.assert_clean((moment, step))
        for row in world.client.get("volumes", "detail")["volumes"]:
            if row["id"] != world.volume:
                assert row["status"] == ("error" if moment in BACKWARD else "available"), (moment, step)
                assert moment in BACKWARD or world.restored(row["id"])
                world.client.delete("volumes", row["id"])
                assert world.service.wait_status("volumes", row["id"]) == "gone"
    other = world.new_volume()
    body = {"restore": {"volume_id": other}}
    restore = TYPES_BY_NAME["backup.restore"].steps[2].name
    world.killed_at(
        "backup.restore", "after do", restore, lambda: world.client.post("backups", world.backup, "restore", body=body)
    )
    assert world.restored(other)
    world.client.delete("volumes", other)
    assert world.service.wait_status("volumes", other) == "gone"


@pytest.mark.row("S076")
def test_a_deletion_goes_on_after_a_kill(world: World) -> None:
    """Before and after its only step; what happens within is in tests/unit/test_backup_sweep.py, call by call."""
    for moment, step in [("before do", "remove"), ("after do", "remove")]:
        more = world.new_backup()
        assert (
            world.killed_at("backup.delete", moment, step, lambda: world.client.delete("backups", more)) == "succeeded"
        )
        assert [row["id"] for row in world.client.get("backups")["backups"]] == [world.backup]
        world.assert_clean((moment, step))
