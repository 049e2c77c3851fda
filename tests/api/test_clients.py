"""The field's own clients, unmodified: python-cinderclient, openstacksdk and the openstack command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openstack
import pytest
from cinderclient import client as cinderclient
from cinderclient.contrib.noauth import CinderNoAuthPlugin
from cinderclient.exceptions import BadRequest, ClientException, NotFound
from keystoneauth1 import session
from keystoneauth1.token_endpoint import Token
from serving import ServiceProcess
from waiting import wait_until

TOKEN = "0123456789abcdef-member"


def wait(service: ServiceProcess, id: str, wanted: str = "available") -> None:
    assert service.wait_status("volumes", id) == wanted


def cinder(service: ServiceProcess, version: str = "3.71") -> Any:
    plugin = CinderNoAuthPlugin("tester", "p1", endpoint=service.url)
    return cinderclient.Client(version, session=session.Session(auth=plugin))


def sdk(service: ServiceProcess) -> Any:
    made = openstack.connect(
        auth_type="none", endpoint=service.url, block_storage_endpoint_override=service.url,
        auth={"endpoint": service.url}, volume_api_version="3", block_storage_api_version="3",
    )  # fmt: skip
    return made.block_storage


def test_cinderclient_life_cycle(service: ServiceProcess) -> None:
    """Volumes, snapshots, extend, metadata, types and attachments through python-cinderclient."""
    client = cinder(service)
    kind = client.volume_types.create("fast", description="d")
    kind.set_keys({"multiattach": "<is> True"})
    assert client.volume_types.find(name="fast").get_keys() == {"multiattach": "<is> True"}
    volume = client.volumes.create(1, name="one", volume_type="fast", metadata={"k": "v"})
    wait(service, volume.id)
    volume.get()
    assert (volume.name, volume.volume_type, volume.metadata, volume.multiattach) == ("one", "fast", {"k": "v"}, True)
    client.volumes.set_metadata(volume, {"more": "1"})
    client.volumes.delete_metadata(volume, ["k"])
    assert client.volumes.get(volume.id).metadata == {"more": "1"}
    client.volumes.update(volume, name="two")
    assert [row.name for row in client.volumes.list(search_opts={"name": "two"})] == ["two"]
    snapshot = client.volume_snapshots.create(volume.id, name="s")
    assert service.wait_status("snapshots", snapshot.id) == "available"
    client.volumes.extend(volume, 2)
    wait(service, volume.id)
    made = client.attachments.create(volume.id, {"host": "me", "ip": "127.0.0.1"}, None)
    client.attachments.complete(made["id"])
    assert client.volumes.get(volume.id).status == "in-use"
    assert client.attachments.show(made["id"]).connection_info["driver_volume_type"] == "nbd"
    assert [row.id for row in client.attachments.list()] == [made["id"]]
    client.attachments.delete(made["id"])
    assert client.quotas.get("p1", usage=True).volumes["in_use"] == 1
    assert client.limits.get().to_dict()["absolute"]["totalSnapshotsUsed"] == 1
    assert client.services.list()[0].state == "up"
    assert client.pools.list(detailed=True)[0].storage_protocol == "nbd"
    snapshot.delete()
    assert service.wait_status("snapshots", snapshot.id) == "gone"
    volume.delete()
    wait(service, volume.id, "gone")
    client.volume_types.delete(kind)
    assert [kind.name for kind in client.volume_types.list()] == ["__DEFAULT__"]


def test_cinderclient_legacy_actions(service: ServiceProcess) -> None:
    """reserve, initialize, attach, begin_detaching, terminate, detach at microversion 3.0, with the project in the path."""
    client = cinder(service, "3.0")
    volume = client.volumes.create(1)
    wait(service, volume.id)
    client.volumes.reserve(volume)
    info = client.volumes.initialize_connection(volume, {"host": "me"})
    assert info["driver_volume_type"] == "nbd"
    client.volumes.attach(volume, None, "/dev/vdb", host_name="me")
    assert client.volumes.get(volume.id).attachments[0]["host_name"] == "me"
    client.volumes.begin_detaching(volume)
    client.volumes.terminate_connection(volume, {"host": "me"})
    client.volumes.detach(volume)
    wait(service, volume.id)


@pytest.mark.row("S043", "S044", "S045")
def test_cinderclient_freezes_and_thaws(service: ServiceProcess) -> None:
    """freeze-host, thaw-host and failover-host; what is refused is a BadRequest with the reason."""
    client = cinder(service)
    volume = client.volumes.create(1)
    wait(service, volume.id)
    client.services.freeze_host("me@file")
    assert [(row.frozen, row.status, row.disabled_reason) for row in client.services.list()] == [
        (True, "disabled", "frozen")
    ]
    for refused in (
        lambda: client.services.freeze_host("me@file"),
        lambda: client.volumes.extend(volume, 2),
        lambda: client.volumes.delete(volume),
        lambda: client.volume_snapshots.create(volume.id),
    ):
        with pytest.raises(BadRequest, match=r"(?i)frozen"):
            refused()
    client.services.thaw_host("me@file")
    with pytest.raises(BadRequest, match="NOT Frozen"):
        client.services.thaw_host("me@file")
    with pytest.raises(BadRequest, match="replication_status must be enabled or failed-over"):
        client.services.failover_host("me@file", None)
    with pytest.raises(NotFound):
        client.services.failover_host("elsewhere", None)
    client.volumes.extend(volume, 2)
    wait(service, volume.id)


def test_cinderclient_clusters(make_service: Callable[..., ServiceProcess]) -> None:
    """list, show, disable and enable, with filters; a volume finds no room while its cluster is disabled."""
    service = make_service(driver="memory", cluster="k")
    client = cinder(service, "3.26")
    (found,) = client.clusters.list(detailed=True, is_up=True, num_hosts=1)
    assert (found.name, found.state, found.status, found.num_down_hosts) == ("k@file", "up", "enabled", 0)
    assert (found.replication_status, found.frozen, found.active_backend_id) == ("disabled", False, None)
    assert [each.name for each in client.clusters.list(disabled=True)] == []
    assert client.clusters.show("k@file").num_hosts == 1
    with pytest.raises(NotFound):
        client.clusters.show("x@file")
    changed = client.clusters.update("k@file", "cinder-volume", disabled=True, disabled_reason="full")
    assert (changed.status, changed.disabled_reason) == ("disabled", "full")
    assert client.services.list()[0].cluster == "k@file"
    with pytest.raises(ClientException, match="disabled"):
        client.volumes.create(1)
    assert client.clusters.update("k@file", "cinder-volume", disabled=False).status == "enabled"
    client.volumes.create(1)


def test_cinderclient_sets_log_levels(service: ServiceProcess) -> None:
    """service-set-log and service-get-log, for both binaries."""
    client = cinder(service)
    client.services.set_log_levels("WARNING", "", "", "nbdsvc.operations")

    def found() -> set[tuple[str, str]]:
        rows = client.services.get_log_levels("*", "", "nbdsvc.operations.engine")
        return {(row.binary, row.level) for row in rows}

    wait_until(lambda: found() == {("cinder-api", "WARNING"), ("cinder-volume", "WARNING")}, facts=found)
    with pytest.raises(BadRequest, match="DEBUG, INFO, WARNING, ERROR"):
        client.services.set_log_levels("LOUD", "", "", "")


def test_cinderclient_lets_services_take_up_their_work(service: ServiceProcess) -> None:
    """work-cleanup, with the filters of the client."""
    cleaning, unavailable = cinder(service).workers.clean(binary="cinder-volume", is_up="True", disabled="False")
    assert [(row.host, row.binary, row.cluster_name) for row in cleaning] == [("me@file", "cinder-volume", None)]
    assert unavailable == []


@pytest.fixture
def token_service(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> ServiceProcess:
    """A service that knows a member and a reader of project p1."""
    tokens = tmp_path / "tokens.toml"
    entries = [
        ("member", TOKEN, "member"),
        ("reader", "0123456789abcdef-reader", "reader"),
        ("other", "0123456789abcdef-other", "member"),
    ]
    lines = [
        f'[tokens.{name}]\ntoken = "{token}"\nproject = "{"p2" if name == "other" else "p1"}"\nroles = ["{role}"]\n'
        for name, token, role in entries
    ]
    tokens.write_text("\n".join(lines))
    tokens.chmod(0o600)
    return make_service(auth="token", tokens_file=tokens)


def test_tokens_roles_and_projects(token_service: ServiceProcess) -> None:
    """A member works, a reader only reads, another project sees nothing, and a request without a token gets 401."""
    import http.client
    from urllib.parse import urlsplit

    where = urlsplit(token_service.url)

    def ask(method: str, path: str, token: str | None, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(where.hostname or "", where.port)
        headers = {"X-Auth-Token": token} if token else {}
        headers["Content-Type"] = "application/json"
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None

    fields = {"volume": {"size": 1}}
    assert ask("GET", "/", None)[0] == 300
    assert ask("GET", "/v3/volumes", None)[0] == 401
    assert ask("GET", "/v3/volumes", TOKEN[:-1] + "x")[0] == 401
    assert ask("POST", "/v3/volumes", "0123456789abcdef-reader", fields)[0] == 403
    status, made = ask("POST", "/v3/volumes", TOKEN, fields)
    assert status == 202
    assert "os-vol-host-attr:host" not in made["volume"]
    id = made["volume"]["id"]
    assert ask("GET", f"/v3/p1/volumes/{id}", "0123456789abcdef-reader")[0] == 200
    assert ask("GET", f"/v3/volumes/{id}", "0123456789abcdef-other")[0] == 404
    assert ask("GET", f"/v3/p1/volumes/{id}", "0123456789abcdef-other")[0] == 400
    assert ask("GET", "/v3/os-services", TOKEN)[0] == 403
    assert ask("POST", f"/v3/volumes/{id}/action", TOKEN, {"os-reset_status": {"status": "error"}})[0] == 403
    assert TOKEN not in token_service.log.read_text()


def test_cinderclient_with_a_token(token_service: ServiceProcess) -> None:
    """python-cinderclient with a static token."""
    auth = Token(token_service.url, TOKEN)
    client = cinderclient.Client("3.71", session=session.Session(auth=auth))
    volume = client.volumes.create(1, name="t")
    assert client.volumes.get(volume.id).name == "t"


def test_openstacksdk(service: ServiceProcess) -> None:
    """Volumes, snapshots, types and attachments through openstacksdk."""
    proxy = sdk(service)
    volume = proxy.create_volume(size=1, name="sdk")
    wait_any(service, volume.id)
    assert proxy.get_volume(volume.id).name == "sdk"
    snapshot = proxy.create_snapshot(volume_id=volume.id, name="s")
    proxy.wait_for_status(snapshot, "available", wait=20, interval=1)
    assert [row.name for row in proxy.volumes()] == ["sdk"]
    proxy.set_volume_metadata(volume, a="b")
    assert proxy.get_volume(volume.id).metadata == {"a": "b"}
    kind = proxy.create_type(name="t")
    assert proxy.find_type("t").id == kind.id
    proxy.extend_volume(volume, 2)
    wait_any(service, volume.id)
    assert proxy.get_volume(volume.id).size == 2
    proxy.delete_snapshot(snapshot)
    proxy.wait_for_delete(snapshot, wait=20, interval=1)
    proxy.delete_volume(volume)
    proxy.wait_for_delete(volume, wait=20, interval=1)


def wait_any(service: ServiceProcess, id: str) -> None:
    """The SDK's project without authentication is not the tests' own."""
    assert service.wait_status("volumes", id) == "available"


def test_openstack_command(service: ServiceProcess) -> None:
    """Life cycle through the openstack command line, without authentication."""

    def command(*arguments: str) -> Any:
        argv = [
            str(Path(sys.executable).parent / "openstack"),
            "--os-auth-type",
            "none",
            "--os-endpoint",
            service.url,
            *arguments,
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "json" in arguments else done.stdout

    volume = command("volume", "create", "--size", "1", "osc", "-f", "json")
    wait_any(service, volume["id"])
    assert [row["Name"] for row in command("volume", "list", "-f", "json")] == ["osc"]
    snapshot = command("volume", "snapshot", "create", "--volume", "osc", "s", "-f", "json")
    assert service.wait_status("snapshots", snapshot["id"]) == "available"
    command("volume", "set", "--size", "2", "--property", "x=y", "osc")
    wait_any(service, volume["id"])
    shown = command("volume", "show", "osc", "-f", "json")
    assert (shown["size"], shown["properties"]) == (2, {"x": "y"})
    command("volume", "type", "create", "kind")
    command("volume", "snapshot", "delete", "s")
    assert service.wait_status("snapshots", snapshot["id"]) == "gone"
    command("volume", "delete", "osc")
    assert service.wait_status("volumes", volume["id"]) == "gone"


MOVED = "pools = { a = 'STATE/a', b = 'STATE/b' }"


@pytest.fixture
def two_pools(make_service: Callable[..., ServiceProcess]) -> tuple[ServiceProcess, str, str]:
    """A service, the pool of its volumes, and the other one: its type `b` binds volumes to it."""
    service = make_service(driver="memory", driver_options=MOVED)
    for pool in "ab":
        service.client().post("types", body={"volume_type": {"name": pool, "extra_specs": {"pool_name": pool}}})
    return service, "me@file#a", "me@file#b"


@pytest.mark.row("S033", "S049")
@pytest.mark.parametrize("version", ["3.0", "3.71"])
def test_cinderclient_migrate_and_retype(two_pools: tuple[ServiceProcess, str, str], version: str) -> None:
    """migrate_volume, by the driver and by a copy, and retype, in place and by a migration."""
    service, first, second = two_pools
    client = cinder(service, version)
    volume = client.volumes.create(1, volume_type="a")
    wait(service, volume.id)
    client.volumes.retype(volume, "__DEFAULT__", "never")
    assert client.volumes.get(volume.id).volume_type == "__DEFAULT__"
    for host, copied in ((second, False), (first, True)):
        client.volumes.migrate_volume(volume, host, copied, True)
        wait(service, volume.id)
        row = client.volumes.get(volume.id)
        assert (getattr(row, "os-vol-host-attr:host"), row.migration_status) == (host, "success")
    client.volumes.retype(volume, "b", "on-demand")
    wait(service, volume.id)
    row = client.volumes.get(volume.id)
    assert (getattr(row, "os-vol-host-attr:host"), row.volume_type) == (second, "b")
    old, new = (client.volumes.create(1) for _ in range(2))
    reply = client.volumes.migrate_volume_completion(old, new, False)
    assert new.id in str(reply)


@pytest.mark.row("S033", "S049")
def test_openstack_migrate_and_retype(two_pools: tuple[ServiceProcess, str, str]) -> None:
    """`volume migrate` and `volume set --type` of the openstack command line."""
    service, first, second = two_pools

    def command(*arguments: str) -> str:
        program = str(Path(sys.executable).parent / "openstack")
        auth = ("--os-auth-type", "none", "--os-endpoint", service.url)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        done = subprocess.run([program, *auth, "volume", *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    id = json.loads(command("create", "--size", "1", "--type", "a", "-f", "json", "one"))["id"]
    wait(service, id)
    command("set", "--type", "__DEFAULT__", id)
    command("migrate", "--host", second, "--lock-volume", id)
    wait(service, id)
    assert json.loads(command("show", "-f", "json", id))["os-vol-host-attr:host"] == second
    command("set", "--type", "a", "--retype-policy", "on-demand", id)
    wait(service, id)
    shown = json.loads(command("show", "-f", "json", id))
    assert (shown["os-vol-host-attr:host"], shown["type"]) == (first, "a")


def test_cinderclient_transfers(service: ServiceProcess) -> None:
    """transfer-create, -list, -show, -accept by another project, and -delete."""
    client, plugin = cinder(service), CinderNoAuthPlugin("tester", "p2", endpoint=service.url)
    other = cinderclient.Client("3.71", session=session.Session(auth=plugin))
    volumes = [client.volumes.create(1) for _ in range(2)]
    for volume in volumes:
        wait(service, volume.id)
    made, withdrawn = (client.transfers.create(volume.id, "gift") for volume in volumes)
    assert {row.id for row in client.transfers.list(detailed=False)} == {made.id, withdrawn.id}
    assert client.transfers.get(made.id).volume_id == volumes[0].id
    assert not hasattr(client.transfers.get(made.id), "auth_key")
    with pytest.raises(BadRequest, match="not the key"):
        other.transfers.accept(made.id, "0" * 32)
    assert other.transfers.accept(made.id, made.auth_key).volume_id == volumes[0].id
    client.transfers.delete(withdrawn.id)
    assert client.transfers.list() == []
    assert [row.id for row in other.volumes.list()] == [volumes[0].id]
    assert [row.id for row in client.volumes.list()] == [volumes[1].id]


def test_openstack_transfers(service: ServiceProcess) -> None:
    """`volume transfer request` create, list, show, accept and delete of the openstack command line, and of its SDK."""
    proxy = sdk(service)
    volume = proxy.create_volume(size=1)
    wait_any(service, volume.id)
    offer = proxy.create_transfer(volume_id=volume.id, name="gift")
    assert proxy.get_transfer(offer.id).volume_id == volume.id
    assert [row.id for row in proxy.transfers()] == [offer.id]
    assert proxy.find_transfer("gift").id == offer.id
    proxy.accept_transfer(offer.id, offer.auth_key)
    wait_any(service, volume.id)
    proxy.delete_transfer(proxy.create_transfer(volume_id=volume.id))
    assert list(proxy.transfers()) == []
