"""`nbdsvc group` against a real service."""

import json
import os
import subprocess
import sys
from typing import Any

from serving import ServiceProcess


def nbdsvc(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": "p1"}
    argv = [sys.executable, "-m", "nbdsvc", "group", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)


def good(service: ServiceProcess, *arguments: str) -> Any:
    done = nbdsvc(service, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_a_group_from_the_command_line(shared_service: ServiceProcess) -> None:
    """type create and list; create, add, remove, snapshot, copy, list, show, delete; refusals have exit statuses."""
    service, client = shared_service, shared_service.client()
    good(service, "type", "create", "cli", "--consistent", "--spec", "vendor:a=b")
    assert "vendor:a" in good(service, "type", "list")
    good(service, "create", "--type", "cli", "--volume-type", "__DEFAULT__", "--name", "g")
    volume = client.post("volumes", body={"volume": {"size": 1, "name": "one"}})["volume"]["id"]
    service.settle()
    good(service, "add", "g", "one")
    shown = good(service, "show", "g", "--json")
    assert (shown["status"], len(shown["volumes"])) == ("available", 1)
    taken = nbdsvc(service, "snapshot", "g", "--name", "s")
    assert (taken.returncode, "nothing was written" in taken.stderr) == (0, True)
    assert "s" in good(service, "snapshots")
    good(service, "copy", "--snapshot", "s", "--name", "copied")
    assert nbdsvc(service, "copy").returncode == 2
    assert nbdsvc(service, "delete", "g").returncode == 4
    good(service, "delete-snapshot", "s")
    good(service, "remove", "g", volume)  # its copy has its name
    good(service, "delete", "g")
    good(service, "delete", "copied", "--volumes")
    assert good(service, "list", "--json") == []
    assert nbdsvc(service, "show", "g").returncode == 3
