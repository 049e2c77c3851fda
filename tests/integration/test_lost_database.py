"""A database that is empty, older than the pool, or another installation's: nothing is forgotten and nothing is ended."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import export_process
import pytest
from serving import ServiceProcess


def _attached(service: ServiceProcess) -> tuple[str, str, str, int]:
    """(volume, snapshot, attachment, pid of its server)."""
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 2}})["volume"]["id"]
    service.wait_status("volumes", volume)
    snapshot = client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    service.wait_status("snapshots", snapshot)
    fields = {"volume_uuid": volume, "connector": {"host": "me"}}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    return volume, snapshot, attachment, _server(service, attachment)


def _server(service: ServiceProcess, attachment: str) -> int:
    return export_process.shell_of(service.state, attachment)


def _lose(service: ServiceProcess, how: str) -> None:
    for path in service.state.glob("nbdsvc.db*"):
        path.unlink()
    if how == "empty":
        (service.state / "nbdsvc.db").touch()


def _rebuild(service: ServiceProcess) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NBDSVC_")}
    environment |= {f"NBDSVC_{key.upper()}": str(value) for key, value in service.settings.items()}
    argv = [sys.executable, "-m", "nbdsvc", "rebuild", "--project", "p1", "--state-dir", str(service.state)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("how", ["empty", "missing"])
def test_a_lost_database_is_said_and_rebuilt(make_service: Callable[..., ServiceProcess], how: str) -> None:
    """No start over volumes without rows; the export runs on; `rebuild` brings all of them back, and detach works."""
    service = make_service()
    volume, snapshot, attachment, server = _attached(service)
    service.kill()
    _lose(service, how)
    with pytest.raises(AssertionError, match="1 exports are in use and have no row"):
        service.start()
    assert Path(f"/proc/{server}").exists()
    said = _rebuild(service)
    assert said.split() == ["volume", volume, "snapshot", snapshot, "attachment", attachment]
    client = service.start().client()
    found = client.get("volumes", volume)["volume"]
    assert (found["size"], found["status"]) == (2, "in-use")
    assert client.get("snapshots", snapshot)["snapshot"]["volume_id"] == volume
    assert _server(service, attachment) == server
    client.delete("attachments", attachment)
    assert not Path(f"/proc/{server}").exists() or Path(f"/proc/{server}/stat").read_text().split()[2] == "Z"
    client.delete("snapshots", snapshot)
    assert service.wait_status("snapshots", snapshot) == "gone"
    client.delete("volumes", volume)
    assert service.wait_status("volumes", volume) == "gone"
    assert service.leftovers() == []


def test_an_old_backup_is_not_started_over_newer_volumes(make_service: Callable[..., ServiceProcess]) -> None:
    """A database from before a volume was made names the volume; `unknown_objects = leave` starts and does not touch it."""
    service = make_service()
    assert service.stop() == 0
    backup = (service.state / "nbdsvc.db").read_bytes()
    client = service.start().client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    assert service.stop() == 0
    (service.state / "nbdsvc.db").write_bytes(backup)
    with pytest.raises(AssertionError, match=f"1 volumes and snapshots .*volume-{volume}"):
        service.start()
    service.settings["UNKNOWN_OBJECTS"] = "leave"
    assert service.start().client().get("volumes")["volumes"] == []
    assert (service.state / "pool" / "volumes" / f"volume-{volume}").exists()
