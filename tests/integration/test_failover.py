"""Failover of a backend through the real service: statuses, rows and bytes, on the simulator that copies to other sites."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from cinderclient import client as cinderclient
from cinderclient.contrib.noauth import CinderNoAuthPlugin
from keystoneauth1 import session
from replicated import (
    NEWEST,
    OPTIONS,
    attached_bytes,
    backend,
    create,
    file_at,
    good,
    new_type,
    newest,
    read,
    shown,
    wait_copy,
    wait_replica,
    write,
)
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.model import states


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    made = make_service(driver="memory-replicated", driver_options=OPTIONS)
    new_type(made, "replication")
    wait_until(lambda: backend(made)["replication_status"] == "enabled", 30)
    return made


def fail_over(service: ServiceProcess, target: str | None = None, verb: str = "failover_host") -> tuple[int, Any]:
    """The reply; the operation has ended."""
    body = {"host": "me@file"} | ({"backend_id": target} if target else {})
    status, content, _ = ask(service, "PUT", f"/v3/os-services/{verb}", body, OpenStack_API_Version=NEWEST)
    service.settle()
    return status, content


def state(service: ServiceProcess) -> tuple[str, str | None, str, str | None]:
    row = backend(service)
    return row["replication_status"], row["active_backend_id"], row["status"], row["disabled_reason"]


def copied(service: ServiceProcess, content: bytes = b"before") -> str:
    """A replicated volume with this, which is on the other sites; what is written from now on is not."""
    id = create(service)
    write(file_at(service, id), content)
    for site in ("far", "near"):
        wait_copy(service, id, content, site)
    wait_replica(service, id)
    return id


def hold(service: ServiceProcess) -> None:
    """Nothing more is copied."""
    Faults(service.state / "pool", "file").plan({"get_replication_status": [{"error": "BackendUnavailable"}]})


@pytest.mark.row("S043", "S086")
@pytest.mark.parametrize(("target", "site"), [(None, "far"), ("near", "near")])
def test_over_and_back(service: ServiceProcess, target: str | None, site: str) -> None:
    """Without a target the driver chooses; `default` fails back (T9). Rows, services and bytes are as the last copy has them."""
    id, alone = copied(service), create(service, volume_type=None)
    hold(service)
    write(file_at(service, id), b"lost! ")
    assert fail_over(service, target)[0] == 202
    assert state(service) == ("failed-over", site, "disabled", "failed-over")
    assert (shown(service, id)["status"], shown(service, id)["replication_status"]) == ("available", "failed-over")
    assert shown(service, alone)["status"] == "error"
    assert attached_bytes(service, id) == b"before"
    write(file_at(service, id, site), b"after!")
    service.kill()
    service.start()
    assert state(service)[:2] == ("failed-over", site)
    assert fail_over(service, "default", "failover")[0] == 202
    assert state(service) == ("enabled", "", "enabled", None)
    assert [shown(service, each)["status"] for each in (id, alone)] == ["available", "available"]
    assert [shown(service, each)["replication_status"] for each in (id, alone)] == ["active", None]
    assert attached_bytes(service, id) == b"after!"


@pytest.mark.row("S043")
def test_attached_volumes_follow(service: ServiceProcess) -> None:
    """An attachment is served from the other site under its address; of a volume without a replica it ends until it is back."""
    id, alone = copied(service), create(service, volume_type=None)
    write(file_at(service, alone), b"alone!")
    attached = {}
    for each in (id, alone):
        body = {"attachment": {"volume_uuid": each, "connector": {"host": "me"}}}
        attached[each] = good(service, "POST", "/v3/attachments", body)["attachment"]
        good(service, "POST", f"/v3/attachments/{attached[each]['id']}/action", {"os-complete": {}})
    hold(service)
    write(file_at(service, id), b"lost! ")
    fail_over(service)
    assert read(attached[id]) == b"before"
    assert [shown(service, each)["status"] for each in (id, alone)] == ["in-use", "error"]
    with pytest.raises(OSError, match=r".*"):
        read(attached[alone])
    fail_over(service, "default")
    assert [shown(service, each)["status"] for each in (id, alone)] == ["in-use", "in-use"]
    assert (read(attached[id]), read(attached[alone])) == (b"before", b"alone!")


SOURCES = states.REPLICATION["fail over"].sources


@pytest.mark.row("S043")
@pytest.mark.parametrize("status", sorted(states.SERVICE_REPLICATION_STATUSES))
def test_preconditions(make_service: Callable[..., ServiceProcess], status: str) -> None:
    """From enabled and failed-over only; any other status is 400 and stays."""
    service = make_service(driver="memory-replicated", driver_options=OPTIONS, repair_interval=3600)
    wait_until(lambda: backend(service)["replication_status"] == "enabled", 30)
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        conn.execute("UPDATE backends SET replication_status = ?", [status])
    code, content = fail_over(service)
    assert (code, status in SOURCES) in ((202, True), (400, False)), content
    assert state(service)[0] == ("failed-over" if status in SOURCES else status)


ENDS = {"UnableToFailOver": "failover-error", "CommandFailed": "error", "InvalidReplicationTarget": None}


@pytest.mark.row("S043", "S086")
@pytest.mark.parametrize("error", ENDS)
def test_ends_of_a_failure(service: ServiceProcess, error: str) -> None:
    """By the driver's error: failover-error, error, or as before. The next start of the backend lets it be tried again."""
    id = copied(service)
    for active in ("", "far"):
        plan = [{"error": error}] if error != "InvalidReplicationTarget" else []
        Faults(service.state / "pool", "file").plan({"failover_host": plan})
        before = state(service)[0]
        assert fail_over(service, None if plan else "nowhere")[0] == 202
        assert newest(service, "backend.failover")["error"]["kind"] == error
        assert state(service)[0] == (ENDS[error] or before)
        assert (shown(service, id)["status"], attached_bytes(service, id)) == ("available", b"before")
        Faults(service.state / "pool", "file").plan({})
        service.kill()
        service.start()
        assert state(service)[:2] == (before, active or None)
        fail_over(service, "far")
        assert state(service)[:2] == ("failed-over", "far")


@pytest.mark.row("S043", "S086")
def test_an_update_without_a_volume_is_no_failover(service: ServiceProcess) -> None:
    """It is UnableToFailOver, and no row is changed."""
    id = copied(service)
    updates = [{"volume_id": id, "updates": {"status": "error"}}, {"updates": {}}]
    Faults(service.state / "pool", "file").plan({"failover_host": [{"returns": ["far", updates]}]})
    fail_over(service)
    assert (state(service)[0], shown(service, id)["status"]) == ("failover-error", "available")


@pytest.mark.row("S043", "S044")
def test_frozen_around_a_failover(service: ServiceProcess) -> None:
    """A frozen backend fails over, and comes back frozen."""
    id = copied(service)
    good(service, "PUT", "/v3/os-services/freeze", {"host": "me@file"})
    fail_over(service)
    assert state(service) == ("failed-over", "far", "disabled", "failed-over")
    fail_over(service, "default")
    assert state(service) == ("enabled", "", "disabled", "frozen")
    good(service, "PUT", "/v3/os-services/thaw", {"host": "me@file"})
    assert state(service) == ("enabled", "", "enabled", None)
    assert attached_bytes(service, id) == b"before"


@pytest.mark.row("S043", "S045")
@pytest.mark.parametrize("frozen_first", [True, False])
def test_a_thaw_does_not_enable_what_failed_over(service: ServiceProcess, *, frozen_first: bool) -> None:
    """Whether it was frozen before or after the failover; and the way back enables nothing that an administrator disabled."""
    freeze = partial(good, service, "PUT", "/v3/os-services/freeze", {"host": "me@file"})
    if frozen_first:
        freeze()
    fail_over(service)
    if not frozen_first:
        freeze()
    good(service, "PUT", "/v3/os-services/thaw", {"host": "me@file"})
    assert state(service) == ("failed-over", "far", "disabled", "failed-over")
    reason = {"host": "me@file", "disabled_reason": "new disks"}
    good(service, "PUT", "/v3/os-services/disable-log-reason", reason)
    fail_over(service, "default")
    assert state(service) == ("enabled", "", "disabled", "new disks")


@pytest.mark.row("S043")
def test_cinderclient_fails_over(service: ServiceProcess) -> None:
    """`cinder failover-host`, over and back, as the list of services shows it."""
    plugin = CinderNoAuthPlugin("tester", "p1", endpoint=service.url)
    services = cinderclient.Client("3.44", session=session.Session(auth=plugin)).services
    for target, wanted in (("far", "failed-over"), ("default", "enabled")):
        services.failover_host("me@file", target)
        service.settle()
        assert [row.replication_status for row in services.list()] == [wanted]


STEPS = ("check", "fence", "fail over", "record", "export")


@pytest.mark.row("S043", "S021")
@pytest.mark.parametrize("moment", ["before do", "after do"])
def test_killed_at_every_step(service: ServiceProcess, moment: str) -> None:
    """Whatever step the process dies at, over or back, after the next start it is there: rows, bytes and exports."""
    id = copied(service)
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
    attachment = good(service, "POST", "/v3/attachments", body)["attachment"]
    good(service, "POST", f"/v3/attachments/{attachment['id']}/action", {"os-complete": {}})
    for step in STEPS:
        for target, wanted in (("far", "failed-over"), ("default", "enabled")):
            service.crash_at("backend.failover", moment, step)
            body = {"host": "me@file", "backend_id": target}
            assert _asked(service, body)
            assert service.wait_dead(), (step, target)
            service.start()
            service.settle()
            assert state(service)[:2] == (wanted, "far" if target == "far" else ""), step
            assert (read(attachment), shown(service, id)["status"]) == (b"before", "in-use"), step
            assert service.leftovers() == [], step


@pytest.mark.row("S043")
@pytest.mark.parametrize("moment", ["before undo", "after undo"])
def test_killed_on_the_way_back(service: ServiceProcess, moment: str) -> None:
    """A failover that fails after its driver has done it is recorded, also where the process dies at an undo."""
    id = copied(service)
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
    attachment = good(service, "POST", "/v3/attachments", body)["attachment"]
    for step in ("fail over", "fence"):
        service.crash_at("backend.failover", moment, step, "record")
        assert _asked(service, {"host": "me@file", "backend_id": "far"})
        assert service.wait_dead(), step
        service.start()
        service.settle()
        assert state(service)[:2] == ("failed-over", "far"), step
        assert read(attachment) == b"before"
        assert fail_over(service, "default")[0] == 202
        assert state(service)[0] == "enabled"


@pytest.mark.row("S046", "S047", "S021")
@pytest.mark.parametrize("moment", ["before do", "after do"])
def test_replicas_killed_at_every_step(service: ServiceProcess, moment: str) -> None:
    """Promote and reenable go on after a kill, and the volume has the bytes of its replica."""
    id = copied(service)
    for action, kind, step, wanted in (
        ("os-promote-replica", "volume.promote_replica", "promote", "inactive"),
        ("os-reenable-replication", "volume.reenable_replication", "reenable", "active"),
    ):
        service.crash_at(kind, moment, step)
        ask_and_die(service, f"/v3/volumes/{id}/action", {action: None})
        service.start()
        service.settle()
        wait_replica(service, id, wanted)
        assert (shown(service, id)["status"], attached_bytes(service, id)) == ("available", b"before")


def ask_and_die(service: ServiceProcess, path: str, body: Any, method: str = "POST") -> None:
    """The reply may have got lost."""
    try:
        status, content, _ = ask(service, method, path, body, OpenStack_API_Version=NEWEST)
        assert status == 202, content
    except OSError:
        pass
    assert service.wait_dead()


def _asked(service: ServiceProcess, body: Any) -> bool:
    ask_and_die(service, "/v3/os-services/failover_host", body, "PUT")
    return True


def test_the_page_names_every_step() -> None:
    """docs/replication.md has the steps of a failover."""
    page = (Path(__file__).parents[2] / "docs" / "replication.md").read_text()
    assert [step for step in STEPS if f"`{step}`" not in page] == []
