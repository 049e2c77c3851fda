"""Migration of volumes in use: clients of the NBD export write through it, and see neither an error nor another server."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import nbd
import pytest
from fio import verify_meanwhile
from killing import LOCAL
from mirroring import Writer
from moving import BACKENDS, Moving
from waiting import wait_until

from nbdsvc.cli.client import Client
from nbdsvc.exports.nbd import processes
from nbdsvc.store import moves
from nbdsvc.volumes.moves.in_use import STEPS

KIND = "volume.migrate_in_use"
# Where the server and the rows may differ; MIGRATION_LONG=1 kills at every boundary.
MOMENTS = [("mirror", "after do"), ("switch", "before do"), ("switch", "after do"), ("finish", "after do")]
UNDONE = [("mirror", "mirror")]
if os.environ.get("MIGRATION_LONG"):
    MOMENTS = [(each.name, moment) for each in STEPS for moment in ("before do", "after do")]
    UNDONE = [("create", "create"), ("mirror", "mirror"), ("mirror", "create")]
COMMON = 5


@pytest.fixture(scope="module")
def made(module_service: Callable[..., Any]) -> Moving:
    return Moving(module_service(backends=BACKENDS))


@pytest.fixture
def moving(made: Moving) -> Iterator[Moving]:
    yield made
    made.faults.plan({})


class Used:
    """A volume of the pool `a` that two connections of one attachment write to."""

    def __init__(self, moving: Moving, pool: str = "a") -> None:
        self.moving = moving
        self.id = moving.written(pool)
        fields = {"volume_uuid": self.id, "connector": LOCAL}
        made = self.client.post("attachments", body={"attachment": fields})["attachment"]
        self.attachment, self.uri = str(made["id"]), str(made["connection_info"]["uri"])
        self.client.act("attachments", self.attachment, "os-complete")
        self.writers = [Writer(self.uri, index, COMMON, 1) for index in range(2)]
        for writer in self.writers:
            writer.start()
        self.await_changes()

    @property
    def client(self) -> Client:
        """Of the service as it runs now: each start has a port of its own."""
        return self.moving.service.client()

    def await_changes(self) -> None:
        before = [writer.changes for writer in self.writers]
        wait_until(lambda: all(writer.changes > old + 10 for writer, old in zip(self.writers, before, strict=True)), 60)

    def end(self, place: str, migration_status: str | None) -> None:
        """All that was acknowledged is at the place, in the one object that there is; then remove everything."""
        self.await_changes()
        for writer in self.writers:
            writer.stop()
        row = self.moving.place(self.id)
        assert row == (place, "in-use", migration_status), (row, self.moving.shown(self.id))
        path = self.moving.path(self.id)
        assert path.parent.parent.name == place
        content = path.open("rb").read(64 << 20)
        assert all(writer.is_in(lambda length, offset: content[offset : offset + length]) for writer in self.writers)
        print(f"worst request: {max(writer.worst for writer in self.writers) * 1000:.0f} ms")
        self.detach()
        self.moving.remove(self.id)
        wait_until(lambda: not list((self.moving.service.state / "exports").glob(f"{self.attachment}*")))
        assert not list((self.moving.service.state / "journals").glob("*"))

    def detach(self) -> None:
        self.client.delete("attachments", self.attachment)
        assert self.moving.service.wait_status("volumes", self.id) == "available"

    def operation(self) -> dict[str, Any]:
        return dict(self.client.get("operations", kind=KIND, limit=1, all_tenants=1)["operations"][0])

    def set_rate(self, rate: int) -> None:
        self.client.act("operations", self.operation()["id"], "set-rate", {"rate": rate})


@pytest.mark.row("S033", "S034", "S085")
@pytest.mark.parametrize("pool", ["b", "c"] if os.environ.get("MIGRATION_LONG") else ["c"])
def test_a_volume_in_use_goes_to_another_pool_under_its_client(moving: Moving, pool: str) -> None:
    """Of its backend and of another one; its bytes, its connections and its status stay, and it goes back the same way."""
    used = Used(moving)
    servers = moving.service.servers()
    for place in (pool, "a"):
        moving.migrate(used.id, place)
        assert moving.ended(KIND)["state"] == "succeeded", moving.ended(KIND)
        used.await_changes()
        assert moving.place(used.id) == (place, "in-use", "success")
        assert moving.promised() == {place: 1}
        assert moving.used() == (1, 1)
    assert moving.service.servers() == servers
    used.end("a", "success")


@pytest.mark.row("S033", "S085")
@pytest.mark.parametrize(("step", "moment"), MOMENTS)
def test_killed_at_every_step(moving: Moving, step: str, moment: str) -> None:
    """The service dies and comes back: the volume is at its destination with all that its client has written meanwhile."""
    used = Used(moving)
    moving.service.crash_at(KIND, moment, step)
    moving.migrate(used.id, "c")
    assert moving.service.wait_dead(), step
    used.await_changes()
    moving.service.start()
    assert moving.ended(KIND)["state"] == "succeeded", moving.ended(KIND)
    used.end("c", "success")


@pytest.mark.row("S033", "S085")
@pytest.mark.parametrize(("fail", "step"), UNDONE)
def test_killed_while_it_is_undone(moving: Moving, fail: str, step: str) -> None:
    """The volume stays at its source, with all that its client has written, and nothing is left at the destination."""
    used = Used(moving)
    moving.service.crash_at(KIND, "before undo", step, fail)
    moving.migrate(used.id, "c")
    assert moving.service.wait_dead(), step
    used.await_changes()
    moving.service.start()
    assert moving.ended(KIND)["state"] == "failed"
    used.end("a", "error")


@pytest.mark.row("S033")
@pytest.mark.parametrize(("moment", "step", "place"), [("after do", "mirror", "c"), ("before do", "switch", "a")])
def test_a_server_that_dies_too_comes_back_at_the_source(moving: Moving, moment: str, step: str, place: str) -> None:
    """Before its copy is noted as whole, the mirror begins anew; from then on its death ends the migration."""
    used = Used(moving)
    for writer in used.writers:
        writer.stop()
    moving.service.crash_at(KIND, moment, step)
    moving.migrate(used.id, "c")
    assert moving.service.wait_dead()
    for pid in moving.service.servers():
        if not processes._is_keeper(pid):
            os.kill(pid, signal.SIGKILL)
    moving.service.start()
    ended = moving.ended(KIND)
    assert ended["state"] == ("succeeded" if place == "c" else "failed"), ended
    client = nbd.NBD()
    client.connect_uri(used.uri)
    assert all(writer.is_in(client.pread) for writer in used.writers)
    used.writers = [Writer(used.uri, index, COMMON, 2) for index in range(2)]
    for writer in used.writers:
        writer.start()
    used.end(place, "success" if place == "c" else "error")


@pytest.mark.row("S033")
def test_a_detach_ends_the_migration_and_loses_nothing(moving: Moving) -> None:
    """After the server's switch, before the rows': the volume is where the server left it."""
    used = Used(moving)
    moving.service.crash_at(KIND, "after do", "switch")
    moving.migrate(used.id, "c")
    assert moving.service.wait_dead()
    for writer in used.writers:
        writer.stop()
    moving.service.start()
    used.detach()
    assert moving.ended(KIND)["state"] == "succeeded"
    assert moving.place(used.id) == ("c", "available", "success")
    content = moving.path(used.id).open("rb").read(64 << 20)
    assert all(writer.is_in(lambda length, offset: content[offset : offset + length]) for writer in used.writers)
    moving.remove(used.id)


@pytest.mark.row("S033", "S085")
def test_rows_that_cannot_follow_the_server_follow_it_later(moving: Moving) -> None:
    """Where the server has switched, its place is kept, whatever fails afterwards, and becomes the volume's."""
    used = Used(moving)
    with closing(sqlite3.connect(moving.service.state / "nbdsvc.db", timeout=30, isolation_level=None)) as database:
        database.execute(
            "CREATE TRIGGER refusal BEFORE UPDATE OF switched ON moves WHEN NEW.switched "
            "BEGIN SELECT RAISE(ABORT, 'the test wants it'); END"
        )
        moving.migrate(used.id, "c")
        assert moving.ended(KIND)["state"] == "rollback_failed"
        used.await_changes()
        database.execute("DROP TRIGGER refusal")
    wait_until(lambda: moving.promised() == {"c": 1}, 60)
    used.end("c", "error")


@pytest.mark.row("S033")
def test_a_failing_destination_ends_the_migration_and_not_its_client(moving: Moving) -> None:
    """An error at each of the driver's verbs: it is undone, the volume stays, and its client goes on."""
    used = Used(moving)
    for verb in ("create_volume", "before_volume_copy"):
        moving.slow(verb, delay=0, error="BackendUnavailable")
        moving.migrate(used.id, "c")
        assert moving.ended(KIND)["state"] == "failed"
        assert moving.place(used.id) == ("a", "in-use", "error")
    used.end("a", "error")


def test_the_step_in_which_no_other_command_is_taken_is_the_switch() -> None:
    """By its number, which the journal has (nbdsvc/store/moves.py)."""
    assert STEPS[moves.SERVER_SWITCHES[KIND]].name == "switch"


@pytest.mark.row("S033")
def test_other_uses_are_refused(moving: Moving) -> None:
    """Two attachments, and a retype to another pool, each with the reason; the client goes on."""
    used = Used(moving)
    status, content = moving.act(used.id, "os-retype", new_type="c", migration_policy="on-demand")
    assert (status, "in use" in content) == (400, True), content
    used.end("a", None)
    shared = moving.bound(moving.new_type("shared", {"pool_name": "a", "multiattach": "<is> True"}))
    for host in ("one", "two"):
        fields = {"volume_uuid": shared, "connector": {**LOCAL, "host": host, "nbd_transport": "unix"}}
        made = used.client.post("attachments", body={"attachment": fields})["attachment"]
        used.client.act("attachments", made["id"], "os-complete")
    status, content = moving.act(shared, "os-migrate_volume", host="me@solid#b")
    assert (status, "it has 2 attachments" in content) == (400, True), content


@pytest.mark.row("S033")
def test_fio_verifies_through_a_migration(moving: Moving) -> None:
    """fio writes with checksums and reads them back while the volume goes to another backend: no error."""
    used = Used(moving)
    for writer in used.writers:
        writer.stop()

    def migrate() -> None:
        moving.migrate(used.id, "c")
        assert moving.ended(KIND)["state"] == "succeeded"

    verify_meanwhile(used.uri, "32M", migrate)
    assert moving.place(used.id) == ("c", "in-use", "success")
    used.detach()
    moving.remove(used.id)
