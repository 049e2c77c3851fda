"""No code path of the service changes a status but by a row of model/states.py: the database itself watches."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import ServiceProcess
from status_log import StatusLog, unlawful

from drivers.memory import Faults

USER = {"instance_uuid": "5b1a8b4e-0000-4000-8000-000000000001", "mountpoint": "/dev/vdb"}
LOCAL = {"host": "me", "ip": "127.0.0.1"}
# Each pool and the other pool of its pair.
FIRST, SECOND = "me@file#a", "me@file#b"
OTHER = {FIRST: SECOND, SECOND: FIRST}
FAULTS = ("DeviceBusy", "CommandFailed", "OutOfSpace")


class Scene:
    """One volume, that gets requests without waiting for earlier ones."""

    def __init__(self, service: ServiceProcess, **given: Any) -> None:
        self.service = service
        self.volume = self.ask("POST", "volumes", {"volume": {"size": 1, **given}})["volume"]["id"]
        self.image = self.ask("GET", "images")["images"][0]["id"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The reply, which may be a refusal; never that the service is at fault."""
        version = {"OpenStack_API_Version": "volume 3.71"}
        status, reply, _ = ask(self.service, method, f"/v3/p1/{path}", body, **version)
        assert status < 500, (method, path, status, reply)
        return reply

    def newest(self, noun: str) -> str:
        found = self.ask("GET", f"{noun}?volume_id={self.volume}")[noun]
        return str(found[0]["id"]) if found else self.volume

    def act(self, action: str, value: Any = None) -> None:
        self.ask("POST", f"volumes/{self.volume}/action", {action: value})

    def act_on_newest(self, noun: str, action: str) -> None:
        self.ask("POST", f"{noun}/{self.newest(noun)}/action", {action: {} if noun == "attachments" else None})

    def attach(self, **given: Any) -> None:
        self.ask("POST", "attachments", {"attachment": {"volume_uuid": self.volume, **given}})

    def update_attachment(self) -> None:
        self.ask("PUT", f"attachments/{self.newest('attachments')}", {"attachment": {"connector": LOCAL}})

    def migrate(self, **how: bool) -> None:
        """To the other one of the two pools."""
        row = self.ask("GET", f"volumes/{self.volume}").get("volume", {})
        other = OTHER[row.get("os-vol-host-attr:host", FIRST)]
        self.act("os-migrate_volume", {"host": other, **how})

    def manage(self, reference: str) -> None:
        pool = self.ask("GET", "scheduler-stats/get_pools")["pools"][0]["name"]
        self.ask("POST", "manageable_volumes", {"volume": {"host": pool, "ref": {"source-name": reference}}})

    def manage_snapshot(self) -> None:
        body = {"snapshot": {"volume_id": self.volume, "ref": {"source-name": "nothing"}}}
        self.ask("POST", "manageable_snapshots", body)


CALLS: dict[str, Callable[[Scene], object]] = {
    "delete": lambda s: s.ask("DELETE", f"volumes/{s.volume}?cascade=true"),
    "force delete": lambda s: s.act("os-force_delete"),
    "extend": lambda s: s.act("os-extend", {"new_size": 2}),
    "clone": lambda s: s.ask("POST", "volumes", {"volume": {"source_volid": s.volume}}),
    "create from image": lambda s: s.ask("POST", "volumes", {"volume": {"size": 1, "imageRef": "disk.raw"}}),
    "upload": lambda s: s.act("os-volume_upload_image", {"image_name": "i", "force": True}),
    "verify": lambda s: s.act("nbdsvc-verify", {"record": True}),
    "make read-only": lambda s: s.act("os-update_readonly_flag", {"readonly": True}),
    "manage": lambda s: s.manage("nothing"),
    "migrate": lambda s: s.migrate(),
    "migrate by a copy": lambda s: s.migrate(force_host_copy=True),
    "migrate and lock": lambda s: s.migrate(force_host_copy=True, lock_volume=True),
    "retype": lambda s: s.act("os-retype", {"new_type": "a", "migration_policy": "on-demand"}),
    "retype back": lambda s: s.act("os-retype", {"new_type": "__DEFAULT__", "migration_policy": "never"}),
    "unmanage": lambda s: s.act("os-unmanage"),
    "snapshot": lambda s: s.ask("POST", "snapshots", {"snapshot": {"volume_id": s.volume, "force": True}}),
    "revert": lambda s: s.act("revert", {"snapshot_id": s.newest("snapshots")}),
    "reimage": lambda s: s.act("os-reimage", {"image_id": s.image, "reimage_reserved": True}),
    "delete snapshot": lambda s: s.ask("DELETE", f"snapshots/{s.newest('snapshots')}"),
    "force delete snapshot": lambda s: s.act_on_newest("snapshots", "os-force_delete"),
    "manage snapshot": lambda s: s.manage_snapshot(),
    "unmanage snapshot": lambda s: s.act_on_newest("snapshots", "os-unmanage"),
    "reserve": lambda s: s.act("os-reserve"),
    "unreserve": lambda s: s.act("os-unreserve"),
    "os-attach": lambda s: s.act("os-attach", USER),
    "os-attach for writing": lambda s: s.act("os-attach", {**USER, "mode": "rw"}),
    "os-detach": lambda s: s.act("os-detach", {}),
    "force detach": lambda s: s.act("os-force_detach", {"connector": LOCAL}),
    "begin detaching": lambda s: s.act("os-begin_detaching"),
    "roll detaching": lambda s: s.act("os-roll_detaching"),
    "initialize connection": lambda s: s.act("os-initialize_connection", {"connector": LOCAL}),
    "terminate connection": lambda s: s.act("os-terminate_connection", {"connector": LOCAL}),
    "reserve attachment": lambda s: s.attach(),
    "attach": lambda s: s.attach(connector=LOCAL),
    "connect attachment": lambda s: s.update_attachment(),
    "complete attachment": lambda s: s.act_on_newest("attachments", "os-complete"),
    "delete attachment": lambda s: s.ask("DELETE", f"attachments/{s.newest('attachments')}"),
}
VERBS = ("create_volume", "delete_volume", "extend_volume", "create_snapshot", "delete_snapshot", "revert_to_snapshot", "unmanage",
         "migrate_volume", "before_volume_copy", "after_volume_copy", "update_migrated_volume")  # fmt: skip


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[ServiceProcess, StatusLog]]:
    """A service on the simulator, and the record of what becomes of its rows."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        pools = "pools = { a = 'STATE/pool', b = 'STATE/other' }"
        service = ServiceProcess(Path(folder), driver="memory", driver_options=pools).start()
        kind = {"name": "a", "extra_specs": {"pool_name": "a"}}
        service.client().post("types", body={"volume_type": kind})
        (service.state / "images" / "disk.raw").write_bytes(b"\1" * 65536)
        yield service, StatusLog(service.state / "nbdsvc.db")
        service.stop()
        service.end_exports()


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(CALLS)), st.booleans()), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(VERBS), st.sampled_from(FAULTS), max_size=2),
)
def test_every_change_is_a_row_of_the_table(
    watched: tuple[ServiceProcess, StatusLog], calls: list[tuple[str, bool]], faults: dict[str, str]
) -> None:
    """Whatever is requested of a volume, in whatever order, and whatever its backend fails at: also what is refused or undone."""
    service, log = watched
    Faults(service.state / "pool", "file").plan(
        {verb: [{"error": error, "times": 2}] for verb, error in faults.items()}
    )
    log.clear()
    scene = Scene(service)
    for call, is_waited_for in calls:
        CALLS[call](scene)
        if is_waited_for:
            service.settle()
    service.settle()
    assert unlawful(log.moves()) == []


def test_the_record_sees_a_change_that_goes_round(watched: tuple[ServiceProcess, StatusLog]) -> None:
    """A status that is written by hand is found, and so are the lawful changes before it."""
    service, log = watched
    Faults(service.state / "pool", "file").plan({})
    log.clear()
    volume = Scene(service).volume
    service.wait_status("volumes", volume)
    assert {("volumes", "new", "creating"), ("volumes", "creating", "available")} <= log.moves()
    with log.connected() as connection:
        connection.execute("UPDATE volumes SET status = 'retyping' WHERE id = ?", (volume,))
        connection.execute("UPDATE volumes SET status = 'error_attaching' WHERE id = ?", (volume,))
    assert unlawful(log.moves()) == [("volumes", "retyping", "error_attaching")]
