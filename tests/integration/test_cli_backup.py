"""`nbdsvc backup` against a real service."""

import json
import os
import subprocess
import sys

import pytest
from serving import ServiceProcess


def backup(
    service: ServiceProcess, *arguments: str, stdin: str = "", status: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": "p1"}
    argv = [sys.executable, "-m", "nbdsvc", "backup", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment, input=stdin)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done


@pytest.mark.row("S076")
def test_verbs_of_backups(shared_service: ServiceProcess) -> None:
    """create, list, show, verify, restore, export, import, gc and delete; what fails says why in one line."""
    service = shared_service
    made = service.client().post("volumes", body={"volume": {"size": 1, "name": "v"}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    with service.backend.volume(service.state, made).open("r+b") as file:
        file.write(b"data")
    full = json.loads(backup(service, "create", "v", "--name", "full", "--json").stdout)
    assert (full["status"], full["volume_id"]) == ("available", made)
    backup(service, "create", "v", "--name", "more", "--incremental")
    assert "more" in backup(service, "list", "--volume", made).stdout
    assert backup(service, "show", "full").stdout.count("True") == 1  # has_dependent_backups
    assert "4.0 MiB read and found" in backup(service, "verify", "full").stdout
    restored = json.loads(backup(service, "restore", "more", "--name", "back", "--json").stdout)
    assert (restored["name"], restored["status"]) == ("back", "available")
    assert json.loads(backup(service, "restore", "more", "--volume", "back", "--json").stdout)["id"] == restored["id"]
    record = backup(service, "export", "more").stdout
    assert "Incremental backups exist" in backup(service, "delete", "full", status=4).stderr
    assert "already" in backup(service, "import", stdin=record, status=4).stderr
    assert "no JSON" in backup(service, "import", stdin="x", status=2).stderr
    backup(service, "delete", "more", "full")
    assert "no such backup" in backup(service, "import", stdin=record, status=1).stderr
    assert backup(service, "gc").stdout.startswith("0 chunks freed")
    assert json.loads(backup(service, "gc", "--json").stdout)["waiting"] == []
    assert "restore" in backup(service, "restore", "x", "--name", "a", "--volume", "b", status=2).stderr
