"""What a reply tells depends on the role of whoever reads it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ask
from serving import ServiceProcess

TOKENS = {role: f"token-of-{role}-{'0' * 16}" for role in ("admin", "member", "reader")}


@pytest.fixture
def guarded(make_service: Callable[..., ServiceProcess]) -> Iterator[Callable[..., tuple[int, Any]]]:
    """A service with a token for each role in project p1; asks it as one of them."""
    service = make_service("t", start=False, auth="token", quota_gigabytes=-1)
    file = service.state.parent / "tokens.toml"
    entries = [
        f'[tokens.{role}]\ntoken = "{token}"\nproject = "p1"\nroles = ["{role}"]\n' for role, token in TOKENS.items()
    ]
    file.write_text("".join(entries))
    file.chmod(0o600)
    service.settings["TOKENS_FILE"] = file
    service.start()

    def requested(role: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"X_Auth_Token": TOKENS[role], "OpenStack_API_Version": "volume 3.71"}
        return ask(service, method, path, body, **headers)[:2]

    yield requested


def test_a_refusal_names_pools_and_hosts_to_administrators_only(guarded: Callable[..., tuple[int, Any]]) -> None:
    """A volume larger than the pool: the administrator reads which pool has how much, a member that there is none."""
    fields = {"volume": {"size": 0x7FFFFFFF}}
    status, content = guarded("admin", "POST", "/v3/volumes", fields)
    assert status == 400
    assert "me@file#file" in str(content)
    status, content = guarded("member", "POST", "/v3/volumes", fields)
    assert status == 400
    assert content["badRequest"]["message"] == "No valid backend was found."
    assert "me@" not in str(content)


def test_what_is_the_storages_own_is_for_administrators(guarded: Callable[..., tuple[int, Any]]) -> None:
    """Names of hosts, clusters and providers stand in an administrator's reply, and in no one else's."""
    id = guarded("member", "POST", "/v3/volumes", {"volume": {"size": 1}})[1]["volume"]["id"]
    own = {"os-vol-host-attr:host", "cluster_name", "provider_id"}
    for role in ("reader", "member"):
        assert not own & set(guarded(role, "GET", f"/v3/volumes/{id}")[1]["volume"])
    assert own <= set(guarded("admin", "GET", f"/v3/volumes/{id}")[1]["volume"])
