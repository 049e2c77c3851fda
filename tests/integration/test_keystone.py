"""Tokens of a real Keystone: whose they are, when they end, and what happens while Keystone is away or slow."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openstack
import pytest
from cinderclient import client as cinder
from keystone_server import PASSWORD, REGION, Keystone, Reply, rest
from keystoneauth1 import session as sessions
from keystoneauth1.identity import v3
from serving import ServiceProcess
from waiting import end_of, wait_until

MATRIX = [
    ("GET", "volumes", None, {"reader", "member", "manager", "boss"}),
    ("POST", "volumes", {"volume": {"size": 1}}, {"member", "manager", "boss"}),
    ("GET", "os-services", None, {"boss"}),
    ("POST", "types", {"volume_type": {"name": "x"}}, {"boss"}),
    ("GET", "os-quota-sets/demo", None, {"boss"}),
    ("GET", "limits", None, {"reader", "member", "manager", "boss"}),
]


def settings_of(keystone: Keystone, folder: Path, **more: object) -> dict[str, object]:
    password = folder / "password"
    password.parent.mkdir(parents=True, exist_ok=True)
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    return {
        "AUTH": "keystone",
        "KEYSTONE_URL": keystone.server.url,
        "KEYSTONE_PASSWORD_FILE": password,
        "LOG_LEVEL": "debug",
        **more,
    }


@pytest.fixture(scope="module")
def cloud(keystone: Keystone, module_service: Callable[..., ServiceProcess]) -> Iterator[ServiceProcess]:
    """A service behind Keystone, in whose catalogue it is."""
    service = module_service("cloud", start=False)
    service.settings |= settings_of(keystone, service.state.parent)
    service.start()
    keystone.register("block-storage", "nbdsvc", f"{service.url}/$(project_id)s")
    yield service
    assert PASSWORD not in service.log.read_text()


def volumes(service: ServiceProcess, token: str, project: str = "", **headers: str) -> Reply:
    return rest("GET", "/".join([service.url, *([project] if project else []), "volumes"]), token, **headers)


@pytest.fixture(params=["password", "application credential"])
def session(request: pytest.FixtureRequest, keystone: Keystone) -> sessions.Session:
    """Of the member, as a client library has it."""
    if request.param == "password":
        names = {"user_domain_id": "default", "project_domain_id": "default", "project_name": "demo"}
        auth = v3.Password(keystone.url, username="member", password=PASSWORD, **names)
    else:
        body = {"application_credential": {"name": f"of-tests-{os.getpid()}", "secret": PASSWORD}}
        path = f"{keystone.url}/users/{keystone.users['member']}/application_credentials"
        made = rest("POST", path, keystone.token("member"), body).content["application_credential"]
        request.addfinalizer(lambda: rest("DELETE", f"{path}/{made['id']}", keystone.token("member")))
        auth = v3.ApplicationCredential(
            keystone.url, application_credential_id=made["id"], application_credential_secret=PASSWORD
        )
    return sessions.Session(auth)


def test_clients_find_the_service_in_the_catalogue(
    cloud: ServiceProcess, keystone: Keystone, session: sessions.Session
) -> None:
    """openstacksdk and python-cinderclient make, list and delete a volume, with no more than Keystone's address."""
    sdk = openstack.connection.Connection(session=session, region_name=REGION)
    volume = sdk.block_storage.create_volume(size=1, name="sdk")
    sdk.block_storage.wait_for_status(volume, "available", wait=60)
    client = cinder.Client("3.70", session=session, region_name=REGION)
    found = client.volumes.get(volume.id)
    assert getattr(found, "os-vol-tenant-attr:tenant_id", keystone.projects["demo"]) == keystone.projects["demo"]
    assert found.user_id == keystone.users["member"]
    assert volume.id in [each.id for each in client.volumes.list()]
    sdk.block_storage.delete_volume(volume.id)
    sdk.block_storage.wait_for_delete(volume, wait=60)


def test_the_openstack_command_finds_it_too(cloud: ServiceProcess, keystone: Keystone) -> None:
    """`openstack volume service list` as the administrator, and as a reader the 403 with its rule."""
    argv = [sys.executable, "-m", "openstackclient.shell", "volume", "service", "list", "-f", "value", "-c", "Binary"]

    def run(user: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **keystone.client_environment(user)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)

    assert "cinder-volume" in run("boss").stdout
    refused = run("reader")
    assert refused.returncode != 0
    assert "volume_extension:services:index" in refused.stderr


def test_roles_of_real_tokens(cloud: ServiceProcess, keystone: Keystone) -> None:
    """A handful of operations, each role of Keystone: a refusal names its rule."""
    for user in ("reader", "member", "manager", "boss"):
        token = keystone.token(user)
        for method, path, body, allowed in MATRIX:
            reply = rest(method, f"{cloud.url}/{path}", token, body)
            assert (reply.status < 300) is (user in allowed), (user, method, path, reply)
            if user not in allowed:
                assert reply.status == 403
                assert reply.content["forbidden"]["message"].startswith("Policy doesn't allow ")


def test_without_a_token_a_client_is_sent_to_keystone(cloud: ServiceProcess, keystone: Keystone) -> None:
    """401 with Keystone's address for none, a wrong and an odd token; the version documents are open."""
    for token in ("", "wrong", "x" * 9000, "gAAAAA" + "b" * 200, "a b"):
        reply = volumes(cloud, token)
        assert reply.status == 401, token[:10]
        assert reply.headers["www-authenticate"] == f'Keystone uri="{keystone.server.url}"'
        assert "unauthorized" in reply.content
    root = cloud.url.removesuffix("/v3")
    assert rest("GET", root).status == 300
    assert rest("GET", f"{root}/v3/").status == 200


def test_a_project_in_the_path_is_the_tokens(cloud: ServiceProcess, keystone: Keystone) -> None:
    """Another project than the token's is refused, but for an administrator; a neighbour finds nothing of it."""
    demo, other = keystone.projects["demo"], keystone.projects["other"]
    member = keystone.token("member")
    assert volumes(cloud, member, demo).status == 200
    assert volumes(cloud, member, other).status == 400
    assert volumes(cloud, keystone.token("boss"), other).status == 200
    made = rest("POST", f"{cloud.url}/{demo}/volumes", member, {"volume": {"size": 1}}).content["volume"]["id"]
    neighbour = keystone.token("neighbour", project="other")
    assert rest("GET", f"{cloud.url}/volumes/{made}", neighbour).status == 404
    assert rest("GET", f"{cloud.url}/volumes/{made}", keystone.token("reader")).status == 200


def test_tokens_without_a_project_are_refused(cloud: ServiceProcess, keystone: Keystone) -> None:
    """403 for one that is scoped to nothing, and for one of the whole system."""
    for user, scope in (("member", "unscoped"), ("admin", {"system": {"all": True}})):
        person = {"id": keystone.users[user], "password": PASSWORD}
        token = keystone.authenticate({"methods": ["password"], "password": {"user": person}}, scope)
        assert volumes(cloud, token).status == 403


def test_an_application_credential_with_access_rules_is_refused(cloud: ServiceProcess, keystone: Keystone) -> None:
    """401: its rules would have to be applied here, and are not."""
    rules = [{"service": "block-storage", "method": "GET", "path": "/v3/volumes"}]
    body = {"application_credential": {"name": "of-rules", "secret": PASSWORD, "access_rules": rules}}
    path = f"{keystone.url}/users/{keystone.users['member']}/application_credentials"
    id = rest("POST", path, keystone.token("member"), body).content["application_credential"]["id"]
    credential = {"id": id, "secret": PASSWORD}
    token = keystone.authenticate({"methods": ["application_credential"], "application_credential": credential})
    assert volumes(cloud, token).status == 401


def test_a_user_of_another_domain(cloud: ServiceProcess, keystone: Keystone) -> None:
    """Users and projects of any domain are users and projects: both are known by their ids."""
    domain = keystone.admin("POST", "domains", {"domain": {"name": "elsewhere"}}).content["domain"]["id"]
    project = keystone.make_project("demo", domain)
    user = {"name": "member", "password": PASSWORD, "domain_id": domain}
    id = keystone.admin("POST", "users", {"user": user}).content["user"]["id"]
    keystone.admin("PUT", f"projects/{project}/users/{id}/roles/{keystone.roles['member']}")
    person = {"name": "member", "password": PASSWORD, "domain": {"name": "elsewhere"}}
    identity = {"methods": ["password"], "password": {"user": person}}
    token = keystone.authenticate(identity, {"project": {"id": project}})
    made = rest("POST", f"{cloud.url}/{project}/volumes", token, {"volume": {"size": 1}})
    assert made.status == 202
    assert made.content["volume"]["user_id"] == id
    assert volumes(cloud, keystone.token("member"), project).status == 400


def test_an_expired_token_needs_a_service_beside_it(cloud: ServiceProcess, keystone: Keystone) -> None:
    """401 once it has expired, though it is remembered; a service's own token lets it through, a user's does not."""
    brief = keystone.short_lived(4)
    brief.start()
    try:
        scope = {"project": {"id": keystone.projects["demo"]}}
        person = {"id": keystone.users["member"], "password": PASSWORD}
        auth = {"identity": {"methods": ["password"], "password": {"user": person}}, "scope": scope}
        made = [rest("POST", f"{brief.url}/v3/auth/tokens", body={"auth": auth}) for _ in "ab"]
    finally:
        brief.stop()
    tokens = [each.headers["x-subject-token"] for each in made]
    ends = datetime.fromisoformat(made[1].content["token"]["expires_at"])
    statuses = set()

    def ended() -> bool:
        statuses.add(volumes(cloud, tokens[0]).status)
        return 401 in statuses

    wait_until(ended, 60)
    assert statuses <= {200, 401}
    wait_until(lambda: datetime.now(UTC) > ends, 60)
    service = keystone.token("nbdsvc", project="service")
    for token in tokens:  # one that was remembered, and one that was never seen before it expired
        assert volumes(cloud, token).status == 401
        assert volumes(cloud, token, X_Service_Token=service).status == 200
        assert volumes(cloud, token, X_Service_Token=keystone.token("boss")).status == 401
        assert volumes(cloud, token, X_Service_Token="wrong").status == 401
        assert volumes(cloud, token).status == 401
        assert volumes(cloud, token, X_Service_Token="").status == 401
    assert volumes(cloud, keystone.token("member"), X_Service_Token=service).status == 200


def test_a_revoked_token_ends_after_the_cache_time(
    cloud: ServiceProcess, keystone: Keystone, make_service: Callable[..., ServiceProcess]
) -> None:
    """It is seen when the token is validated again; where it is remembered for long, it is valid until then."""
    forgetful = make_service("forgetful", start=False)
    forgetful.settings |= settings_of(keystone, forgetful.state.parent, KEYSTONE_CACHE_SECONDS=1)
    forgetful.start()
    token = keystone.token("member")
    assert volumes(forgetful, token).status == volumes(cloud, token).status == 200
    keystone.revoke(token)
    wait_until(lambda: volumes(forgetful, token).status == 401, 60)
    assert volumes(cloud, token).status == 200
    service = keystone.token("nbdsvc", project="service")
    assert volumes(forgetful, token, X_Service_Token=service).status == 401


def test_keystone_away_and_back(cloud: ServiceProcess, keystone: Keystone) -> None:
    """503 with the reason for a token that is not remembered; those that are go on; then all is as before."""
    known, new = keystone.token("member"), keystone.token("member")
    assert volumes(cloud, known).status == 200
    keystone.server.stop()
    try:
        refused = volumes(cloud, new)
        assert refused.status == 503
        assert "Keystone cannot validate the token now: it takes no connection" in str(refused.content)
        assert refused.headers["retry-after"] == "2"
        assert new not in cloud.log.read_text()
        assert volumes(cloud, known).status == 200
    finally:
        keystone.server.start()
    assert volumes(cloud, new).status == 200


def test_a_slow_keystone_holds_up_only_those_who_need_it(cloud: ServiceProcess, keystone: Keystone) -> None:
    """While more tokens wait than are validated at once, a request with a remembered one is answered."""
    known, new = keystone.token("member"), [keystone.token("member") for _ in range(12)]
    assert volumes(cloud, known).status == 200
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda token=token: statuses.append(volumes(cloud, token).status)) for token in new
    ]
    keystone.server.pause()
    try:
        for thread in threads:
            thread.start()
        assert end_of(lambda: volumes(cloud, known).status) == 200
        assert rest("GET", f"{cloud.url.removesuffix('/v3')}/healthcheck").status == 200
        assert statuses == []
    finally:
        keystone.server.resume()
        for thread in threads:
            thread.join(60)
    assert len(statuses) == len(new)
    assert set(statuses) <= {200, 503}
    assert volumes(cloud, new[-1]).status == 200


def test_the_services_own_user(keystone: Keystone, make_service: Callable[..., ServiceProcess]) -> None:
    """Its tokens are renewed when they are revoked; where its password is wrong, 503 says so, and no log has it."""
    keystone.make_user("turning", "service", "admin")
    path = f"users/{keystone.users['turning']}"

    def set_password(password: str) -> None:
        assert keystone.admin("PATCH", path, {"user": {"password": password}}).status == 200

    service = make_service("turning", start=False)
    service.settings |= settings_of(keystone, service.state.parent, KEYSTONE_USER="turning", KEYSTONE_CACHE_SECONDS=1)
    service.start()
    assert volumes(service, keystone.token("member")).status == 200
    set_password("another-one")
    refused = wait_until(lambda: (reply := volumes(service, keystone.token("member"))).status == 503 and reply, 60)
    assert "it refuses the service's user" in str(refused.content)
    set_password(PASSWORD)
    wait_until(lambda: volumes(service, keystone.token("member")).status == 200, 60)
    assert PASSWORD not in service.log.read_text()


def refusal(service: ServiceProcess) -> Any:
    with pytest.raises(AssertionError) as caught:
        service.start()
    return caught.value


def test_wrong_settings_are_named_at_start(keystone: Keystone, make_service: Callable[..., ServiceProcess]) -> None:
    """A password that others may read, an authority's file that is none, a rule without a meaning: no start."""
    service = make_service("wrong", start=False)
    folder = service.state.parent
    good = dict(service.settings)
    for name, text, mode, reason in (
        ("KEYSTONE_PASSWORD_FILE", PASSWORD, 0o644, "must not be readable by others"),
        ("KEYSTONE_PASSWORD_FILE", "\n", 0o600, "is empty"),
        ("KEYSTONE_CA_FILE", "no certificate", 0o600, "keystone_ca_file"),
        ("POLICY_FILE", '"volume:get": "role:"\n', 0o600, "line 1: volume:get: 'role:' is no check"),
    ):
        path = folder / "given"
        path.write_text(text)
        path.chmod(mode)
        service.settings = {**good, **settings_of(keystone, folder), name: path}
        found = str(refusal(service))
        assert reason in found
        assert PASSWORD not in found
