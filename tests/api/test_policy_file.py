"""A policy file in force: what the operator changes is changed, and nothing else is."""

from collections.abc import Callable
from typing import Any

import pytest
from asking import ask
from serving import ServiceProcess
from waiting import wait_until

PEOPLE = {"reader": "p1", "member": "p1", "admin": "p1", "manager": "p2"}
TOKENS = {role: f"token-of-{role}-{'0' * 16}" for role in PEOPLE}
POLICY = """
"creator": "role:reader and project_id:%(project_id)s"
"volume:create": "rule:creator"
"volume:delete": "!"
"volume:extend": "rule:context_is_admin"
"volume_extension:services:index": "@"
"volume_extension:volume_admin_actions:reset_status": "role:member"
"volume_extension:volume_admin_actions:migrate_volume": "role:member"
"volume_extension:volume_admin_actions:migrate_volume_completion": "role:member"
"volume_extension:snapshot_admin_actions:reset_status": "role:member"
"context_is_admin": "role:manager and not role:admin"
"xena_system_admin_or_project_reader": "is_admin:True or (role:reader and project_id:%(project_id)s)"
"xena_system_admin_or_project_member": "role:member and project_id:%(project_id)s"
"""

Requested = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def requested(module_service: Callable[..., ServiceProcess]) -> Requested:
    """Sends a request as one of the people, to a service with this policy, in which managers are the administrators."""
    service = module_service("policy", start=False, auth="token")
    entries = [
        f'[tokens.{role}]\ntoken = "{TOKENS[role]}"\nproject = "{project}"\nroles = ["{role}"]\n'
        for role, project in PEOPLE.items()
    ]
    for name, text in (("TOKENS_FILE", "".join(entries)), ("POLICY_FILE", POLICY)):
        file = service.state.parent / name.lower()
        file.write_text(text)
        file.chmod(0o600)
        service.settings[name] = file
    service.start()

    def send(role: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return ask(service, method, path, body, X_Auth_Token=TOKENS[role])[:2]

    return send


VOLUME = {"volume": {"size": 1}}


def test_rules_of_the_file_are_in_force(requested: Requested) -> None:
    """A reader creates, no role deletes, everybody lists services: and each refusal names its rule."""
    status, content = requested("reader", "POST", "/v3/volumes", VOLUME)
    assert status == 202
    id = content["volume"]["id"]
    for role in ("reader", "member", "admin"):
        status, content = requested(role, "DELETE", f"/v3/volumes/{id}")
        assert (status, content["forbidden"]["message"]) == (
            403,
            "Policy doesn't allow volume:delete to be performed.",
        )
        extended = requested(role, "POST", f"/v3/volumes/{id}/action", {"os-extend": {"new_size": 2}})
        assert extended[1]["forbidden"]["message"] == "Policy doesn't allow volume:extend to be performed."
        assert requested(role, "GET", "/v3/os-services")[0] == 200
        assert requested(role, "GET", f"/v3/volumes/{id}")[0] == 200


def test_what_the_file_does_not_name_stays(requested: Requested) -> None:
    """A reader updates nothing; a member does."""
    id = requested("member", "POST", "/v3/volumes", VOLUME)[1]["volume"]["id"]
    body = {"volume": {"name": "n"}}
    assert requested("reader", "PUT", f"/v3/volumes/{id}", body)[0] == 403
    assert requested("member", "PUT", f"/v3/volumes/{id}", body)[0] == 200


def test_an_administrator_is_whom_the_policy_names(requested: Requested) -> None:
    """The manager of another project sees this one's volumes; the role admin alone leads into no other project."""
    id = requested("member", "POST", "/v3/volumes", VOLUME)[1]["volume"]["id"]
    assert requested("manager", "GET", f"/v3/volumes/{id}")[0] == 200
    assert requested("manager", "GET", f"/v3/p1/volumes/{id}")[0] == 200
    assert requested("admin", "GET", "/v3/p2/volumes")[0] == 400
    assert requested("admin", "GET", "/v3/volumes/detail?all_tenants=1")[0] == 200
    other = requested("manager", "POST", "/v3/volumes", VOLUME)
    assert other[0] == 202
    found = requested("admin", "GET", "/v3/volumes?all_tenants=1")[1]["volumes"]
    assert other[1]["volume"]["id"] not in [each["id"] for each in found]
    assert requested("admin", "GET", f"/v3/volumes/{other[1]['volume']['id']}")[0] == 404


def test_a_loosened_rule_reaches_no_other_project(requested: Requested) -> None:
    """What was for administrators, given to members: in their own project it works, another's resources are not there."""
    actions: list[tuple[str, Any]] = [
        ("os-reset_status", {"status": "error"}),
        ("os-migrate_volume", {"host": "h@b#p"}),
        ("os-migrate_volume_completion", {"new_volume": "00000000-0000-4000-8000-000000000000", "error": False}),
    ]
    id = requested("manager", "POST", "/v3/volumes", VOLUME)[1]["volume"]["id"]
    wait_until(lambda: requested("manager", "GET", f"/v3/volumes/{id}")[1]["volume"]["status"] == "available")
    body = {"snapshot": {"volume_id": id}}
    snapshot = requested("manager", "POST", "/v3/snapshots", body)[1]["snapshot"]["id"]
    for name, value in actions:
        assert requested("member", "POST", f"/v3/volumes/{id}/action", {name: value})[0] == 404, name
    reset = {"os-reset_status": {"status": "error"}}
    assert requested("member", "POST", f"/v3/snapshots/{snapshot}/action", reset)[0] == 404
    own = requested("member", "POST", "/v3/volumes", VOLUME)[1]["volume"]["id"]
    wait_until(lambda: requested("member", "GET", f"/v3/volumes/{own}")[1]["volume"]["status"] == "available")
    assert requested("member", "POST", f"/v3/volumes/{own}/action", reset)[0] == 202
