"""Killed by SIGKILL at every step of an operation on a group, forwards and while it is undone: all is settled after."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from backends import COPYING, Backend
from grouping import Groups
from killing import BACKWARD, FORWARD
from replicated import OPTIONS
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.operation_types import TYPES_BY_NAME

CONTENT = b"whole..."
KINDS = ("group.create", "group.update", "group.delete", "group.create_from_source", "group_snapshot.create",
         "group_snapshot.delete")  # fmt: skip
# What ends with the request's resource, and what it is then.
ENDS = {kind: "gone" if kind.endswith("delete") else "available" for kind in KINDS}


def _cases(kind: str) -> list[tuple[str, str, str | None]]:
    """Moment, step, and the step after which it fails. On this backend each has a step that copies, if any has."""
    steps = TYPES_BY_NAME[kind].steps
    forward = [(moment, step.name, None) for step in steps for moment in FORWARD]
    undone = [(moment, step.name, steps[-1].name) for step in steps if step.undo for moment in BACKWARD]
    return forward + undone


def _prepare(groups: Groups, kind: str, group: str) -> tuple[str, str, Callable[[], Any]]:
    """Noun and id of what the operation is about, if it is there before; and the request."""
    if kind == "group.create":
        body = {"group": {"group_type": groups.type(), "volume_types": ["__DEFAULT__"]}}
        return "groups", "", lambda: groups.ask("POST", "groups", body)
    if kind == "group.update":
        volume = groups.volume()
        inside = groups.volumes_of(group)[0]
        body = {"group": {"add_volumes": volume, "remove_volumes": inside}}
        return "groups", group, lambda: groups.ask("PUT", f"groups/{group}", body)
    if kind == "group.delete":
        body = {"delete": {"delete-volumes": True}}
        return "groups", group, lambda: groups.ask("POST", f"groups/{group}/action", body)
    if kind == "group.create_from_source":
        body = {"create-from-src": {"group_snapshot_id": groups.snapshot(group)}}
        return "groups", "", lambda: groups.ask("POST", "groups/action", body)
    if kind == "group_snapshot.create":
        body = {"group_snapshot": {"group_id": group}}
        return "group_snapshots", "", lambda: groups.ask("POST", "group_snapshots", body)
    whole = groups.snapshot(group)
    return "group_snapshots", whole, lambda: groups.ask("DELETE", f"group_snapshots/{whole}")


def _asked(request: Callable[[], Any]) -> None:
    try:
        request()
    except (OSError, errors.Error):
        pass  # the service died before it replied


def _written(groups: Groups, group: str) -> None:
    for volume in groups.volumes_of(group):
        with groups.service.backend.volume(groups.service.state, volume).open("r+b") as file:
            file.write(CONTENT)


def _check_bytes(groups: Groups) -> None:
    """Of every volume and snapshot that is said to be there and whole."""
    for noun, folder in (("volumes", "volumes/volume-"), ("snapshots", "snapshots/_snapshot-")):
        for row in groups.good("GET", f"{noun}/detail")[noun]:
            from_source = noun == "snapshots" or row["snapshot_id"]
            if row["status"] == "available" and from_source:
                with (groups.service.state / "pool" / f"{folder}{row['id']}").open("rb") as file:
                    assert file.read(len(CONTENT)) == CONTENT, row


def _empty(groups: Groups) -> None:
    for row in groups.good("GET", "group_snapshots")["group_snapshots"]:
        groups.good("DELETE", f"group_snapshots/{row['id']}")
        assert groups.rest("group_snapshots", row["id"]) == "gone"
    for row in groups.good("GET", "groups")["groups"]:
        groups.delete(row["id"])
    for row in groups.good("GET", "volumes")["volumes"]:
        groups.good("DELETE", f"volumes/{row['id']}")
    groups.service.settle()
    assert groups.used() == (0, 0, 0)


@pytest.mark.row("S021", "S037", "S038", "S039", "S040", "S041", "S042")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_step(make_service: Callable[..., ServiceProcess], kind: str) -> None:
    """The operation goes on to its end, or ends in `error` where it failed; nothing is left over, and every byte is right."""
    service = make_service(backend=COPYING)
    cases = _cases(kind)
    for moment, step, fail in cases:
        groups = Groups(service)
        group = groups.group(2)
        _written(groups, group)
        noun, id, request = _prepare(groups, kind, group)
        before = {row["id"] for row in groups.good("GET", noun)[noun]}
        service.crash_at(kind, moment, step, fail)
        _asked(request)
        assert service.wait_dead(), (kind, moment, step)
        service.start()
        service.settle()
        new = {row["id"] for row in groups.good("GET", noun)[noun]} - before
        status = groups.rest(noun, id or new.pop())
        assert status == ("error" if fail else ENDS[kind]), (kind, moment, step)
        _check_bytes(groups)
        assert service.leftovers() == [], (kind, moment, step)
        assert service.findings() == [], (kind, moment, step)
        _empty(groups)
    print(f"{len(cases)} kill points of {kind}")


@pytest.mark.row("S021")
@pytest.mark.parametrize("step", [step.name for step in TYPES_BY_NAME["group.replicate"].steps])
def test_killed_while_it_fails_over(make_service: Callable[..., ServiceProcess], step: str) -> None:
    """The failover goes on, and the volume's client finds it at the other site; then it fails back as before."""
    backend = Backend(settings={"driver": "memory-grouped", "driver_options": OPTIONS})
    groups = Groups(make_service(backend=backend))
    body = {"volume_type": {"name": "copied", "extra_specs": {"replication": "<is> True"}}}
    groups.good("POST", "types", body)
    group_type = groups.type(group_replication_enabled="<is> True")
    group = groups.group(group_type=group_type, volume_types=["copied"])
    volume = groups.volume(group_id=group, volume_type="copied")
    fields = {"volume_uuid": volume, "connector": {"host": "me", "ip": "127.0.0.1"}}
    made = groups.good("POST", "attachments", {"attachment": fields})["attachment"]
    groups.good("POST", f"attachments/{made['id']}/action", {"os-complete": {}})
    with (groups.service.state / "pool" / "volumes" / f"volume-{volume}").open("r+b") as file:
        file.write(CONTENT)
    groups.act(group, "enable_replication")
    assert groups.rest("groups", group) == "available"
    groups.service.crash_at("group.replicate", "after do", step)
    for target, where, status in (("near", "near", "failed-over"), ("default", "pool", "enabled")):
        body = {"failover_replication": {"secondary_backend_id": target, "allow_attached_volume": True}}
        _asked(partial(groups.ask, "POST", f"groups/{group}/action", body))
        if target == "near":
            assert groups.service.wait_dead()
            groups.service.start()
        groups.service.settle()
        assert groups.good("GET", f"groups/{group}")["group"]["replication_status"] == status
        note = groups.service.state / "exports" / made["id"] / "spec.json"
        wait_until(lambda: f"/{where}/volumes/" in note.read_text(), 20, note.read_text)
    groups.good("DELETE", f"attachments/{made['id']}")
    groups.service.settle()
    groups.delete(group)
