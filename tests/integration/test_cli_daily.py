"""What an administrator and a user do daily from the command line, against a real service: types, QoS, quotas, transfers ..."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

import click
import pytest
from serving import ServiceProcess

from nbdsvc.cli import VERBS, cli


def nbdsvc(
    service: ServiceProcess, *arguments: str, status: int = 0, stdin: str = "", project: str = "p1"
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": project}
    argv = [sys.executable, "-m", "nbdsvc", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment, input=stdin)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert bool(done.stderr.strip()) or not status
    return done


def found(service: ServiceProcess, *arguments: str, **given: Any) -> Any:
    return json.loads(nbdsvc(service, *arguments, "--json", **given).stdout)


def _leaves(command: click.Command, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, each in below if each for leaf in _leaves(each, *path, name)]


def test_what_prints_a_resource_prints_json() -> None:
    """Each command that lists, shows or makes something has --json; each has a line of help."""
    leaves = _leaves(cli)
    assert {path[0] for path, _ in leaves} == set(VERBS)
    for path, command in leaves:
        assert command.get_short_help_str(), path
        if path[-1] in ("list", "show", "create", "set", "unset", "extend", "upload", "restore", "accept", "migrate"):
            assert "--json" in {name for each in command.params for name in each.opts}, path


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_verb(shell: str) -> None:
    """The script of each shell asks nbdsvc, which completes verbs, their commands and options."""
    environment = {
        **os.environ,
        "_NBDSVC_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "nbdsvc qos ",
        "COMP_CWORD": "2",
    }
    program = "from nbdsvc.cli import cli; cli(prog_name='nbdsvc')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert {"list", "show", "create", "associate"} <= set(done.stdout.replace(",", "\n").split()), done.stderr


def test_types_and_qos(shared_service: ServiceProcess) -> None:
    """A type is made, changed, given to a project and QoS specs to it; what has volumes, or does not exist, is refused."""
    service = shared_service
    made = found(service, "type", "create", "daily", "--spec", "a=b", "--private", "--description", "for tests")
    assert (made["extra_specs"], made["is_public"]) == ({"a": "b"}, False)
    assert found(service, "type", "set", "daily", "c=d=e")["extra_specs"] == {"a": "b", "c": "d=e"}
    assert found(service, "type", "unset", "daily", "a")["extra_specs"] == {"c": "d=e"}
    nbdsvc(service, "type", "allow", "daily", "p2")
    nbdsvc(service, "type", "allow", "daily", "p2", status=4)
    nbdsvc(service, "type", "deny", "daily", "p2")
    assert "daily" in nbdsvc(service, "type", "list").stdout
    assert found(service, "type", "show", "daily")["id"] == made["id"]
    specs = found(service, "qos", "create", "fast", "total_iops_sec=100", "--consumer", "front-end")
    assert (specs["consumer"], specs["specs"]) == ("front-end", {"total_iops_sec": "100"})
    nbdsvc(service, "qos", "associate", "fast", "daily")
    assert found(service, "qos", "show", "fast")["volume_types"] == ["daily"]
    nbdsvc(service, "qos", "delete", "fast", status=4)
    assert found(service, "qos", "set", "fast", "read_iops_sec=5")["specs"]["read_iops_sec"] == "5"
    assert found(service, "qos", "unset", "fast", "total_iops_sec")["specs"] == {"read_iops_sec": "5"}
    nbdsvc(service, "qos", "disassociate", "fast", "daily")
    assert "fast" in nbdsvc(service, "qos", "list").stdout
    nbdsvc(service, "qos", "delete", "fast")
    nbdsvc(service, "type", "delete", "daily")
    nbdsvc(service, "type", "show", "daily", status=3)
    assert "write KEY=VALUE" in nbdsvc(service, "type", "create", "x", "--spec", "a", status=2).stderr
    assert "the key is there already" in nbdsvc(service, "qos", "create", "x", "a=1", "a=2", status=2).stderr


def test_quotas(shared_service: ServiceProcess) -> None:
    """Limits are shown with the usage, set and reset; a wrong resource or number changes none."""
    service = shared_service

    def limits(rows: Any) -> dict[str, int]:
        return {each["resource"]: each["limit"] for each in rows}

    before = limits(found(service, "quota", "show", project="daily"))
    assert limits(found(service, "quota", "set", "daily", "volumes=3", "gigabytes=-1"))["volumes"] == 3
    assert "LIMIT" in nbdsvc(service, "quota", "show", "daily").stdout
    nbdsvc(service, "quota", "set", "daily", "volumes=many", status=2)
    nbdsvc(service, "quota", "set", "daily", "colour=3", status=4)
    assert limits(found(service, "quota", "show", "daily"))["gigabytes"] == -1
    assert limits(found(service, "quota", "reset", "daily")) == before


def test_a_volume_changes_its_project(shared_service: ServiceProcess) -> None:
    """Offered, listed, withdrawn, offered again, and accepted by the key on stdin, which is on no command line."""
    service = shared_service
    nbdsvc(service, "volume", "create", "1", "--name", "offered")
    made = found(service, "transfer", "create", "offered", "--name", "t")
    assert "t" in nbdsvc(service, "transfer", "list").stdout
    assert "auth_key" not in found(service, "transfer", "show", "t")
    nbdsvc(service, "transfer", "delete", "t")
    made = found(service, "transfer", "create", "offered", "--no-snapshots")
    nbdsvc(service, "transfer", "accept", made["id"], stdin="wrong\n", status=4, project="p2")
    nbdsvc(service, "transfer", "accept", made["id"], stdin="", status=2, project="p2")
    accepted = found(service, "transfer", "accept", made["id"], stdin=f"{made['auth_key']}\n", project="p2")
    assert (accepted["name"], accepted["status"]) == ("offered", "available")
    nbdsvc(service, "volume", "delete", "offered", project="p2")


def test_attachments_and_messages(shared_service: ServiceProcess) -> None:
    """Attachments are listed by volume and ended; a failure's reason is listed, shown and deleted."""
    service = shared_service
    id = found(service, "volume", "create", "1", "--name", "daily")["id"]
    body = {"attachment": {"volume_uuid": id, "connector": {"host": "me"}}}
    made = service.client().post("attachments", body=body)["attachment"]["id"]
    assert [each["id"] for each in found(service, "attachment", "list", "--volume", "daily")] == [made]
    shown = nbdsvc(service, "attachment", "show", made).stdout
    assert "nbd" in shown and "socket" not in shown
    assert found(service, "attachment", "show", made)["connection_info"]["driver_volume_type"] == "nbd"
    nbdsvc(service, "attachment", "delete", made)
    assert found(service, "volume", "extend", "daily", "2")["size"] == 2
    nbdsvc(service, "volume", "create", "1", "--image", "/no/such.img", status=4)
    (service.state / "images").mkdir(exist_ok=True)
    (service.state / "images" / "bad.qcow2").write_bytes(b"QFI\xfb" + bytes(600))
    failed = nbdsvc(service, "volume", "create", "1", "--image", "bad.qcow2", "--name", "bad", status=1)
    assert "its qcow2 version is 0" in failed.stderr
    bad = found(service, "volume", "show", "bad")["id"]
    (message,) = found(service, "message", "list", "--resource", bad)
    assert message["user_message"] in nbdsvc(service, "message", "list").stdout
    assert found(service, "message", "show", message["id"])["resource_uuid"] == bad
    nbdsvc(service, "message", "delete", message["id"])
    nbdsvc(service, "message", "show", message["id"], status=3)
    nbdsvc(service, "volume", "delete", "daily", "bad", "--cascade")


def test_a_bar_on_a_terminal(shared_service: ServiceProcess) -> None:
    """What takes long shows how far it is on a terminal, on stderr, and stdout has the result alone."""
    service = shared_service
    nbdsvc(service, "volume", "create", "1", "--name", "long")
    leader, follower = pty.openpty()
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": "p1", "TERM": "xterm"}
    argv = [sys.executable, "-m", "nbdsvc", "backup", "create", "long", "--json", "--name", "b"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=follower, env=environment, timeout=120)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "available")
    argv = [*argv[:4], "create", "long", "--name", "c"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=follower, env=environment, timeout=120)
    assert done.returncode == 0
    os.close(follower)
    assert b"backup.create" in os.read(leader, 1 << 16)
    os.close(leader)
    nbdsvc(service, "backup", "delete", "b", "c")
    nbdsvc(service, "volume", "delete", "long")
