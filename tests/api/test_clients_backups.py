"""Backups by unmodified clients: python-cinderclient, openstacksdk and the openstack command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openstack
import pytest
from cinderclient import client as cinderclient
from cinderclient.contrib.noauth import CinderNoAuthPlugin
from keystoneauth1 import session
from serving import ServiceProcess


def sdk(service: ServiceProcess) -> Any:
    made = openstack.connect(
        auth_type="none", endpoint=service.url, block_storage_endpoint_override=service.url,
        auth={"endpoint": service.url}, volume_api_version="3", block_storage_api_version="3",
    )  # fmt: skip
    return made.block_storage


def openstack_command(service: ServiceProcess, *arguments: str) -> str:
    """The output of the openstack command, without authentication."""
    program, auth = str(Path(sys.executable).parent / "openstack"), ["--os-auth-type", "none"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    argv = [program, *auth, "--os-endpoint", service.url, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.row("S076")
def test_cinderclient_backups(service: ServiceProcess) -> None:
    """Create, list, update, restore, export, import, reset and delete through python-cinderclient."""
    plugin = CinderNoAuthPlugin("tester", "p1", endpoint=service.url)
    client = cinderclient.Client("3.44", session=session.Session(auth=plugin))
    volume = client.volumes.create(1, name="one")
    assert service.wait_status("volumes", volume.id) == "available"
    full = client.backups.create(volume.id, name="full", container="c", metadata={"k": "v"})
    assert service.wait_status("backups", full.id) == "available"
    more = client.backups.create(volume.id, name="more", incremental=True)
    assert service.wait_status("backups", more.id) == "available"
    shown = client.backups.get(more.id)
    assert (shown.is_incremental, shown.has_dependent_backups, shown.size) == (True, False, 1)
    assert client.backups.get(full.id).has_dependent_backups is True
    assert [row.id for row in client.backups.list(search_opts={"name": "full"})] == [full.id]
    client.backups.update(full.id, name="renamed", description="d")
    assert client.backups.get(full.id).name == "renamed"
    restored = client.restores.restore(more.id, name="back")
    assert service.wait_status("volumes", restored.volume_id) == "available"
    assert client.volumes.get(restored.volume_id).name == "back"
    record = client.backups.export_record(more.id)
    client.backups.delete(more.id)
    assert service.wait_status("backups", more.id) == "gone"
    made = client.backups.import_record(record["backup_service"], record["backup_url"])
    assert service.wait_status("backups", made["id"]) == "error"  # the store has it no more
    client.backups.reset_state(made["id"], "available")
    client.backups.delete(made["id"], force=True)
    assert service.wait_status("backups", made["id"]) == "gone"
    assert client.quotas.get("p1", usage=True).backups["in_use"] == 1


@pytest.mark.row("S076")
def test_openstack_command_backups(service: ServiceProcess) -> None:
    """volume backup create, list, show, restore and delete of the openstack command; the SDK reads the same."""
    made = json.loads(openstack_command(service, "volume", "create", "--size", "1", "v", "-f", "json"))
    assert service.wait_status("volumes", made["id"]) == "available"
    backup = json.loads(openstack_command(service, "volume", "backup", "create", "--name", "b", "v", "-f", "json"))[
        "id"
    ]
    assert service.wait_status("backups", backup) == "available"
    assert [row.id for row in sdk(service).backups()] == [backup]
    assert json.loads(openstack_command(service, "volume", "backup", "list", "-f", "json"))[0]["Name"] == "b"
    openstack_command(service, "volume", "backup", "restore", "b", "restored")
    restored = next(row.id for row in sdk(service).volumes() if row.name == "restored")
    assert service.wait_status("volumes", restored) == "available"
    openstack_command(service, "volume", "backup", "delete", "b")
    assert service.wait_status("backups", backup) == "gone"
