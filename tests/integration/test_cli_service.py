"""The verbs of `nbdsvc service` against a real service."""

import json
import os
import subprocess
import sys
from typing import Any

from serving import ServiceProcess
from waiting import wait_until

ENGINE = "nbdsvc.operations.engine"


def nbdsvc(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": "p1"}
    argv = [sys.executable, "-m", "nbdsvc", "service", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)


def row(service: ServiceProcess) -> dict[str, Any]:
    return dict(json.loads(nbdsvc(service, "list", "--json").stdout)[0])


def test_a_service_is_disabled_and_frozen(service: ServiceProcess) -> None:
    """disable with a reason, enable, freeze, thaw; a refusal is status 4 with the reason, an unknown host 3."""
    assert nbdsvc(service, "disable", "me@file", "--reason", "new disks").returncode == 0
    assert (row(service)["status"], row(service)["disabled_reason"]) == ("disabled", "new disks")
    listed = nbdsvc(service, "list", "--host", "me").stdout
    assert "HOST" in listed
    assert "new disks" in listed
    assert nbdsvc(service, "enable", "me").returncode == 0
    assert nbdsvc(service, "freeze", "me@file").returncode == 0
    assert (row(service)["frozen"], row(service)["status"]) == (True, "disabled")
    again = nbdsvc(service, "freeze", "me@file")
    assert (again.returncode, "Host is already Frozen." in again.stderr) == (4, True)
    assert nbdsvc(service, "thaw", "me@file").returncode == 0
    assert (row(service)["frozen"], row(service)["status"]) == (False, "enabled")
    assert nbdsvc(service, "disable", "me@file").returncode == 0
    assert row(service)["status"] == "disabled"
    assert nbdsvc(service, "disable", "elsewhere").returncode == 3


def test_log_levels_are_set_and_shown(service: ServiceProcess) -> None:
    """set-log changes what get-log shows, of the binaries that are named; a level that there is not is wrong usage."""

    def levels() -> dict[str, str]:
        found = json.loads(nbdsvc(service, "get-log", "--prefix", ENGINE, "--json").stdout)
        return {each["binary"]: each["level"] for each in found if each["logger"] == ENGINE}

    assert levels() == {"cinder-api": "INFO", "cinder-volume": "INFO"}
    assert (
        nbdsvc(service, "set-log", "warning", "--binary", "cinder-volume", "--prefix", "nbdsvc.operations").returncode
        == 0
    )
    wait_until(lambda: levels()["cinder-volume"] == "WARNING")
    assert ENGINE in nbdsvc(service, "get-log", "--server", "me@file", "--binary", "cinder-volume").stdout
    assert nbdsvc(service, "set-log", "loud").returncode == 2
