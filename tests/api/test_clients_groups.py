"""The field's clients, unmodified, on groups: python-cinderclient and the openstack command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cinderclient import client as cinderclient
from cinderclient.contrib.noauth import CinderNoAuthPlugin
from cinderclient.exceptions import BadRequest, NotFound
from grouping import Groups
from keystoneauth1 import session
from serving import ServiceProcess


@pytest.fixture(scope="module")
def service(module_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    return module_service()


def cinder(service: ServiceProcess, version: str = "3.44") -> Any:
    plugin = CinderNoAuthPlugin("tester", "p1", endpoint=service.url)
    return cinderclient.Client(version, session=session.Session(auth=plugin))


def wait(service: ServiceProcess, noun: str, id: str, wanted: str = "available") -> None:
    assert Groups(service).rest(noun, id) == wanted


def test_cinderclient_group_types(service: ServiceProcess) -> None:
    """group-type-create, -key, -list, -show, -update, -default and -delete."""
    client = cinder(service)
    made = client.group_types.create("gt", "d", is_public=True)
    made.set_keys({"a:b": "c"})
    assert client.group_types.get(made.id).get_keys() == {"a:b": "c"}
    made.unset_keys(["a:b"])
    client.group_types.update(made, name="renamed")
    assert {"renamed", "default_cgsnapshot_type"} <= {row.name for row in client.group_types.list()}
    with pytest.raises(NotFound):
        client.group_types.default()
    client.group_types.delete(made)
    with pytest.raises(BadRequest, match="consistency groups"):
        client.group_types.delete(client.group_types.find(name="default_cgsnapshot_type"))


def test_cinderclient_groups(service: ServiceProcess) -> None:
    """group-create, -list, -show, -update, -snapshot-*, -create-from-src, -reset-state, -delete; volumes in a group."""
    client = cinder(service)
    kind = client.group_types.create("plain")
    group = client.groups.create(kind.id, "__DEFAULT__", name="g")
    wait(service, "groups", group.id)
    inside = client.volumes.create(1, group_id=group.id)
    other = client.volumes.create(1)
    wait(service, "volumes", other.id)
    client.groups.update(group.id, add_volumes=other.id, description="more")
    wait(service, "groups", group.id)
    shown = client.groups.get(group.id, list_volume=True)
    assert (sorted(shown.volumes), shown.description) == (sorted([inside.id, other.id]), "more")
    assert [row.id for row in client.groups.list(list_volume=True)] == [group.id]
    assert client.volumes.get(inside.id).group_id == group.id
    whole = client.group_snapshots.create(group.id, name="s")
    wait(service, "group_snapshots", whole.id)
    assert [row.group_id for row in client.group_snapshots.list()] == [group.id]
    copied = client.groups.create_from_src(whole.id, None, name="copy")
    wait(service, "groups", copied["id"])
    client.group_snapshots.reset_state(whole, "error")
    client.groups.reset_state(copied["id"], "error")
    with pytest.raises(BadRequest, match="demands no replication"):
        client.groups.enable_replication(group.id)
    client.group_snapshots.delete(whole)
    wait(service, "group_snapshots", whole.id, "gone")
    for id in (copied["id"], group.id):
        client.groups.delete(id, delete_volumes=True)
        wait(service, "groups", id, "gone")
    assert client.quotas.get("p1", usage=True).groups["in_use"] == 0


def test_cinderclient_consistency_groups(service: ServiceProcess) -> None:
    """consisgroup-create, -list, -show, -update, -create-from-src, -delete and cgsnapshot-*; the same rows as groups."""
    client = cinder(service)
    group = client.consistencygroups.create("__DEFAULT__,", name="cg")
    wait(service, "consistencygroups", group.id)
    volume = client.volumes.create(1, consistencygroup_id=group.id)
    wait(service, "volumes", volume.id)
    assert (client.volumes.get(volume.id).consistencygroup_id, client.volumes.get(volume.id).group_id) == (
        group.id,
        None,
    )
    assert [row.id for row in client.volumes.list(search_opts={"consistencygroup_id": group.id})] == [volume.id]
    client.consistencygroups.update(group.id, name="renamed", remove_volumes=volume.id)
    wait(service, "consistencygroups", group.id)
    client.consistencygroups.update(group.id, add_volumes=volume.id)
    wait(service, "consistencygroups", group.id)
    assert [row.name for row in client.consistencygroups.list()] == ["renamed"]
    assert client.groups.get(group.id).group_type == client.group_types.find(name="default_cgsnapshot_type").id
    with pytest.raises(BadRequest, match="consistency groups"):
        client.groups.create("default_cgsnapshot_type", "__DEFAULT__")
    whole = client.cgsnapshots.create(group.id, name="s")
    wait(service, "cgsnapshots", whole.id)
    assert [row.consistencygroup_id for row in client.cgsnapshots.list()] == [group.id]
    copied = client.consistencygroups.create_from_src(whole.id, None)
    wait(service, "consistencygroups", copied["id"])
    client.cgsnapshots.delete(whole)
    wait(service, "cgsnapshots", whole.id, "gone")
    with pytest.raises(BadRequest, match="flag"):
        client.consistencygroups.delete(group.id)
    for id in (copied["id"], group.id):
        client.consistencygroups.delete(id, force=True)
        wait(service, "consistencygroups", id, "gone")
    kind = client.group_types.create("of the other kind")
    plain = client.groups.create(kind.id, "__DEFAULT__")
    wait(service, "groups", plain.id)
    with pytest.raises(NotFound):
        client.consistencygroups.get(plain.id)


def test_openstackclient_groups(service: ServiceProcess) -> None:
    """volume group type create, volume group create, show, set, delete; volume group snapshot create, list, delete."""
    arguments = ("--os-auth-type", "none", "--os-endpoint", service.url, "--os-volume-api-version", "3.44")

    def run(*words: str) -> Any:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        argv = [str(Path(sys.executable).parent / "openstack"), *arguments, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "json" in words else done.stdout

    run("volume", "group", "type", "create", "osc")
    made = run("volume", "group", "create", "--volume-group-type", "osc", "--volume-type", "__DEFAULT__", "--name", "og",
               "-f", "json")  # fmt: skip
    service.settle()
    cinder(service).volumes.create(1, group_id=made["ID"])
    service.settle()
    run("volume", "group", "set", "og", "--description", "d")
    assert run("volume", "group", "show", "og", "-f", "json")["Description"] == "d"
    run("volume", "group", "snapshot", "create", "og", "--name", "os")
    service.settle()
    assert [row["Name"] for row in run("volume", "group", "snapshot", "list", "-f", "json")] == ["os"]
    run("volume", "group", "snapshot", "delete", "os")
    service.settle()
    run("volume", "group", "delete", "--force", "og")
    service.settle()
    assert "og" not in run("volume", "group", "list")
