"""Attachments keep their transport when the settings name another one: served, repaired and ended by the one they have."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable

import pytest
from serving import ServiceProcess
from waiting import wait_until

INITIATOR = "iqn.2026-11.org.example:me"
LOCAL = {"host": "me", "ip": "127.0.0.1", "initiator": INITIATOR}
SIZE = 1 << 30


def volume(service: ServiceProcess) -> str:
    made = service.client().post("volumes", body={"volume": {"size": 1}})["volume"]
    assert service.wait_status("volumes", made["id"]) == "available"
    return str(made["id"])


def attach(service: ServiceProcess, volume_id: str) -> tuple[str, dict[str, object]]:
    """(attachment, connection_info)"""
    fields = {"volume_uuid": volume_id, "connector": LOCAL}
    made = service.client().post("attachments", body={"attachment": fields})["attachment"]
    service.client().act("attachments", made["id"], "os-complete")
    return str(made["id"]), dict(made["connection_info"])


def serves(uri: object) -> bool:
    done = subprocess.run(["nbdinfo", "--size", str(uri)], capture_output=True, text=True, timeout=60)
    return done.stdout.strip() == str(SIZE)


def change(service: ServiceProcess, **settings: object) -> None:
    """Restart it with other settings."""
    assert service.stop() == 0
    service.settings |= settings
    service.start()


@pytest.mark.row("S068", "S069")
def test_the_setting_changes_under_an_attachment(make_service: Callable[..., ServiceProcess]) -> None:
    """From nbd to iSCSI: a start is not refused, the server that runs goes on, is repaired when it dies and goes with its
    attachment; who attaches from then on gets iSCSI, and connecting again leaves an attachment its transport."""
    service = make_service()
    old = volume(service)
    attachment, info = attach(service, old)
    assert info["driver_volume_type"] == "nbd"
    before = service.servers()
    change(service, EXPORTER="lio-memory", ISCSI_PORTALS="127.0.0.1:3263")
    assert service.servers() == before
    assert serves(info["uri"])
    _, other = attach(service, volume(service))
    assert other["driver_volume_type"] == "iscsi"
    assert other["auth_password"]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: serves(info["uri"]), 60)
    service.client().delete("attachments", attachment)
    assert not service.servers()
    assert service.wait_status("volumes", old) == "available"
    again, info = attach(service, old)
    assert info["driver_volume_type"] == "iscsi"
    with sqlite3.connect(service.state / "nbdsvc.db") as conn:
        assert dict(conn.execute("select id, protocol from attachments"))[again] == "iscsi"


def test_growth_reaches_the_recorded_transport(make_service: Callable[..., ServiceProcess]) -> None:
    """An extension online, after the setting changed, is seen by clients of the old transport."""
    service = make_service()
    id = volume(service)
    _, info = attach(service, id)
    change(service, EXPORTER="lio-memory", ISCSI_PORTALS="127.0.0.1:3263")
    service.client().act("volumes", id, "os-extend", {"new_size": 2})
    assert service.wait_status("volumes", id) == "in-use"
    done = subprocess.run(["nbdinfo", "--size", str(info["uri"])], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(2 * SIZE)
