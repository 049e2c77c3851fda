"""The field's own clients at the newest version: what 3.45 to 3.71 brought, as they ask for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from cinderclient import client as cinderclient
from cinderclient.contrib.noauth import CinderNoAuthPlugin
from cinderclient.exceptions import BadRequest, NotFound
from keystoneauth1 import session
from serving import ServiceProcess

INSTANCE = "5b1a8b4e-0000-4000-8000-000000000001"
PROJECT = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def service(module_service: Callable[..., ServiceProcess]) -> Iterator[ServiceProcess]:
    made = module_service(driver="memory", driver_options="instant_clone = true")
    (made.state / "images").mkdir(exist_ok=True)
    (made.state / "images" / "small.raw").write_bytes(b"\1" * 65536)
    yield made


def cinder(service: ServiceProcess, project: str = "p1") -> Any:
    plugin = CinderNoAuthPlugin("tester", project, endpoint=service.url)
    return cinderclient.Client("3.71", session=session.Session(auth=plugin))


def sdk(service: ServiceProcess) -> Any:
    made = openstack.connect(
        auth_type="none", endpoint=service.url, block_storage_endpoint_override=service.url,
        auth={"endpoint": service.url}, volume_api_version="3", block_storage_api_version="3",
        block_storage_default_microversion="3.71",
    )  # fmt: skip
    return made.block_storage


def volume(service: ServiceProcess, client: Any, **fields: Any) -> Any:
    made = client.volumes.create(1, **fields)
    assert service.wait_status("volumes", made.id) == "available"
    return client.volumes.get(made.id)


def test_cinderclient_sees_the_newer_fields(service: ServiceProcess) -> None:
    """Of volumes, snapshots and services; a count with a page of a list; filters of types and times."""
    client = cinder(service)
    kind = client.volume_types.create("two")
    kind.set_keys({"multiattach": "<is> True"})
    one = volume(service, client, name="one", volume_type="two")
    assert (one.volume_type_id, one.consumes_quota, one.shared_targets, one.cluster_name) == (
        kind.id,
        True,
        False,
        None,
    )
    assert len(one.service_uuid) == 36
    page, count = client.volumes.list(limit=1, search_opts={"with_count": True})
    assert (len(page), count) == (1, len(client.volumes.list()))
    snapshot = client.volume_snapshots.create(one.id)
    assert service.wait_status("snapshots", snapshot.id) == "available"
    assert client.volume_snapshots.get(snapshot.id).consumes_quota is True
    assert client.volume_snapshots.list(limit=1, search_opts={"with_count": True})[1] >= 1
    found = client.volume_types.list(search_opts={"extra_specs": {"multiattach": "<is> True"}})
    assert [each.name for each in found] == ["two"]
    assert client.volumes.list(search_opts={"created_at": "gt:2999-01-01"}) == []
    assert client.services.list()[0].backend_state == "up"


def test_cinderclient_default_types(service: ServiceProcess) -> None:
    """default-type-set, -list and -unset, without a project in the path; a new volume of the project has the type."""
    client, other = cinder(service), cinder(service, "p2")
    kind = client.volume_types.create("ours")
    assert client.default_types.create("ours", "p2").volume_type_id == kind.id
    assert [(row.project_id, row.volume_type_id) for row in client.default_types.list()] == [("p2", kind.id)]
    assert client.default_types.list("p2").volume_type_id == kind.id
    made = other.volumes.create(1)
    assert made.volume_type == "ours"
    client.default_types.delete("p2")
    assert client.default_types.list() == []
    with pytest.raises(NotFound):
        client.default_types.list("p2")


def test_cinderclient_snapshot_of_a_volume_in_use(service: ServiceProcess) -> None:
    """Without force, with which the client would not even ask."""
    client = cinder(service)
    one = volume(service, client)
    client.volumes.attach(one, INSTANCE, "/dev/vdb")
    made = client.volume_snapshots.create(one.id)
    assert service.wait_status("snapshots", made.id) == "available"


def test_cinderclient_attaches_read_only(service: ServiceProcess) -> None:
    """attachment-create with a mode."""
    client = cinder(service)
    made = client.attachments.create(volume(service, client).id, {}, INSTANCE, "ro")
    assert client.attachments.show(made["id"]).attach_mode == "ro"


def test_cinderclient_reimages(service: ServiceProcess) -> None:
    """reimage of an available and of a reserved volume; the end of an extension that no hypervisor makes is refused."""
    client = cinder(service)
    one = volume(service, client)
    image = next(each["id"] for each in service.client().get("images")["images"])
    client.volumes.reimage(one, image)
    assert service.wait_status("volumes", one.id) == "available"
    assert client.volumes.get(one.id).bootable == "true"
    client.attachments.create(one.id, {}, INSTANCE)
    with pytest.raises(BadRequest, match="reserved"):
        client.volumes.reimage(one, image)
    client.volumes.reimage(one, image, True)
    assert service.wait_status("volumes", one.id) == "reserved"
    with pytest.raises(BadRequest, match="status is reserved"):
        client.volumes.extend_volume_completion(one)


def test_cinderclient_transfers_with_snapshots(service: ServiceProcess) -> None:
    """transfer-create, -list and -accept with history; the snapshot goes with the volume."""
    client, other = cinder(service), cinder(service, "p2")
    one = volume(service, client)
    snapshot = client.volume_snapshots.create(one.id)
    assert service.wait_status("snapshots", snapshot.id) == "available"
    made = client.transfers.create(one.id, name="gift", no_snapshots=False)
    row = client.transfers.get(made.id)
    assert (row.source_project_id, row.destination_project_id, row.accepted) == ("p1", None, False)
    assert [each.id for each in client.transfers.list(sort="created_at:desc")][:1] == [made.id]
    other.transfers.accept(made.id, made.auth_key)
    assert service.wait_status("volumes", one.id) in ("available", "gone")
    assert [each.id for each in other.volume_snapshots.list()] == [snapshot.id]


def test_openstacksdk_at_the_newest_version(service: ServiceProcess) -> None:
    """Default types, a snapshot, an attachment with a mode, and the newer fields of a volume."""
    proxy = sdk(service)
    kind = proxy.create_type(name="of the sdk")
    made = proxy.create_volume(size=1, name="sdk", volume_type="of the sdk")
    assert service.wait_status("volumes", made.id) == "available"
    shown = proxy.get_volume(made.id)
    assert (shown.name, shown.volume_type) == ("sdk", "of the sdk")
    proxy.set_default_type(PROJECT, kind.id)
    assert [(row.project_id, row.volume_type_id) for row in proxy.default_types()] == [(PROJECT, kind.id)]
    proxy.unset_default_type(PROJECT)
    attachment = proxy.create_attachment(made, connector={}, instance=INSTANCE, mode="ro")
    assert proxy.get_attachment(attachment).attach_mode == "ro"
    proxy.delete_attachment(attachment)
    snapshot = proxy.create_snapshot(volume_id=made.id)
    assert service.wait_status("snapshots", snapshot.id) == "available"
    assert proxy.get_snapshot(snapshot.id).consumes_quota is True


def test_openstack_command_at_the_newest_version(service: ServiceProcess) -> None:
    """A transfer without snapshots, and the backend's state, which its commands show from their versions on."""
    argv = [str(Path(sys.executable).parent / "openstack"), "--os-auth-type", "none", "--os-endpoint", service.url,
            "--os-volume-api-version", "3.71"]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}

    def command(*arguments: str) -> Any:
        done = subprocess.run(
            [*argv, *arguments, "-f", "json"], capture_output=True, text=True, timeout=60, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    made = volume(service, cinder(service, "admin"))
    assert command("volume", "transfer", "request", "create", made.id, "--no-snapshots")["volume_id"] == made.id
    assert command("volume", "service", "list")[0]["Backend State"] == "up"
