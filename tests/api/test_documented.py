"""The API's reference against the service: which of its operations are served, and the errors that it documents of each."""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from documented import Documented, find, operations
from operations_of import OPERATIONS
from serving import ServiceProcess
from world import ADMIN, BACKENDS, MEMBER, TOKENS, Operation, World

# The reference writes this path once with another noun.
MISPRINTED = {"/v3/snapshot/{snapshot_id}/metadata/{key}"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def _documented(each: Operation) -> Documented | None:
    method, path, *action = each.name.split()
    query = "usage=true" if path == "/v3/os-quota-sets/{project}" and "usage" in each.send.__code__.co_names else ""
    return find(method, re.sub(r"\{[^}]*\}", "x", path), query, action[0] if action else "")


SERVED = {found: each for each in OPERATIONS if (found := _documented(each))}


def test_every_operation_is_served() -> None:
    """All of the reference; one with a query is the same route as the one without."""
    missing = [
        str(each)
        for each in operations()
        if each not in SERVED and each.path not in MISPRINTED and "?" not in each.path
    ]
    assert missing == []
    assert len(operations()) == 198


def test_the_page_has_every_operation() -> None:
    """docs/api-operations.md is drawn from the same list; it may be older than the tests, but leaves out nothing."""
    page = (Path(__file__).parents[2] / "docs" / "api-operations.md").read_text()
    assert re.findall(r"^\| `([^`]+)` \| 3\.", page, re.MULTILINE) == [str(each) for each in operations()]


def test_an_operation_is_there_from_the_documented_version_on() -> None:
    """Not before it, and not later: but for those that Cinder itself serves from the start."""
    earlier = {str(each) for each, ours in SERVED.items() if ours.since < each.since}
    later = {str(each) for each, ours in SERVED.items() if ours.since > each.since}
    assert later == set()
    assert {name.split()[1].split("/")[2] for name in earlier} == {"volume-transfers"}


class Scene:
    """A service with tokens, and requests that are wrong in one way."""

    def __init__(self, service: ServiceProcess) -> None:
        self.world = World(service)

    def ask(self, token: str, method: str, path: str, body: Any, version: str = "volume 3.71") -> int:
        headers = {"X_Auth_Token": token, "OpenStack_API_Version": version}
        return ask(self.world.service, method, path, body, **headers)[0]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tokens = Path(folder) / "tokens.toml"
        tokens.write_text(
            TOKENS + '[tokens.reader]\ntoken = "reader-token-0123456789"\nproject = "p1"\nroles = ["reader"]\n'
        )
        tokens.chmod(0o600)
        service = ServiceProcess(Path(folder), backends=BACKENDS, auth="token", tokens_file=tokens).start()
        yield Scene(service)
        service.stop()
        service.end_exports()


def _malformed(scene: Scene, method: str, path: str, body: Any) -> int:
    """A field that there is not, a query that is none, or where the request has neither, a version that is none."""
    if body is not None:
        name = next(iter(body))
        wrong = {name: {"nonsense": 1}} if isinstance(body[name], dict) else {**body, "nonsense": 1}
        return scene.ask(ADMIN, method, path, wrong)
    found = scene.ask(ADMIN, method, path + ("&" if "?" in path else "?") + "limit=-1&nonsense=1", None)
    return found if found == 400 else scene.ask(ADMIN, method, path, None, "volume 3")


def _nowhere(scene: Scene, method: str, path: str, body: Any) -> int:
    """What the request names does not exist."""
    path, body = (json.loads(_UUID.sub(UNKNOWN, json.dumps(each))) for each in (path, body))
    path = re.sub(r"(me@file|c1@spare|/p[5-7])$", "/nowhere", path).replace("//", "/")
    for name in ("host", "name"):
        if isinstance(body, dict) and name in body:
            body = {**body, name: "nowhere"}
    if path == "/v3/groups":
        body = {"group": {**body["group"], "group_type": "nowhere"}}
    return scene.ask(ADMIN, method, path, body)


def _forbidden(scene: Scene, method: str, path: str, body: Any) -> int:
    """A member where an administrator is needed, a reader where something changes, or another project's limits."""
    token = MEMBER if method == "GET" else "reader-token-0123456789"
    return scene.ask(token, method, path.replace("project_id=p1", "project_id=p2"), body)


def _wrong_method(scene: Scene, _method: str, path: str, body: Any) -> int:
    return scene.ask(ADMIN, "PATCH", path, body)


def _without_token(scene: Scene, method: str, path: str, body: Any) -> int:
    return scene.ask("", method, path, body)


def _taken(scene: Scene, method: str, path: str, body: Any) -> int:
    """A name that another one has."""
    body = {next(iter(body)): {"name": "taken"}}
    scene.ask(ADMIN, "POST", "/v3/group_types", body)
    return scene.ask(ADMIN, method, path, body)


WAYS: dict[int, Callable[[Scene, str, str, Any], int]] = {
    400: _malformed, 401: _without_token, 403: _forbidden, 404: _nowhere, 405: _wrong_method, 409: _taken,
}  # fmt: skip
# Documented, and not tried here: why not.
_CANCELLED = "answered where the end of an access is cancelled meanwhile: the moment cannot be chosen here"
NOT_TRIED = {
    "GET /": dict.fromkeys((400, 401, 403, 404, 409, 500, 503), "it needs nothing: no token, no version, no database"),
    "GET /v3/": {403: "everybody may read the version document"},
    "GET /v3/extensions": {300: "there is one answer"},
    "GET /v3/qos-specs": {300: "there is one answer"},
    "GET /v3/qos-specs/{qos_id}": {
        413: "requests are not limited by their rate",
        503: "tests/recovery/test_database_outages.py takes the database away",
    },
    "POST /v3/group_types": {404: "it names nothing"},
    "PUT /v3/group_types/{group_type_id}": {500: "no request is to find a fault of the service"},
    "POST /v3/backups/{backup_id}/restore": {413: "tests/api/test_backups.py sets quotas"},
    "POST /v3/backups/import_record": {503: "a store that is away fails the operation"},
    "GET /v3/types/default": {404: "the default type cannot be deleted", 500: "nor be wrong"},
    "GET /v3/default-types": {404: "an empty list is a list"},
    "GET /v3/os-quota-class-sets/{quota_class_name}": {404: "a class without limits has those of the settings"},
    "PUT /v3/os-quota-class-sets/{quota_class_name}": {404: "a new name makes a class"},
    "PUT /v3/default-types/{project-id}": {404: "a project need not be known; a type that is not is a 400"},
    "DELETE /v3/attachments/{attachment_id}": {409: _CANCELLED},
    "POST /v3/volumes/{volume_id}/action os-detach": {409: _CANCELLED},
    "POST /v3/volumes/{volume_id}/action os-force_detach": {409: _CANCELLED},
    "POST /v3/volumes/{volume_id}/action os-terminate_connection": {409: _CANCELLED},
}
# Tried by a test of its own, since something else has to go on meanwhile.
ELSEWHERE = {
    ("PUT /v3/attachments/{attachment_id}", 409): ("integration/test_access_ends.py", "requests_that_wait_hold_nobody_up"),
    ("POST /v3/volumes/{volume_id}/action revert", 409): ("api/test_newer_versions.py", "revert_to_the_newest_snapshot"),
    ("POST /v3/volume-transfers/{transfer_id}/accept", 413): (
        "api/test_transfers.py", "what_cannot_be_accepted_changes_nothing",
    ),
}  # fmt: skip
_ALL = [(each, status) for each in SERVED for status in each.errors]
CASES = [
    (each, status)
    for each, status in _ALL
    if status not in NOT_TRIED.get(str(each), {}) and (str(each), status) not in ELSEWHERE
]


@pytest.mark.parametrize(("each", "status"), CASES, ids=str)
def test_a_documented_error_is_answered(scene: Scene, each: Documented, status: int) -> None:
    """With the documented status, to a request that is wrong in that way."""
    method, path, body = SERVED[each].send(scene.world)
    assert WAYS[status](scene, method, path, body) == status


def test_every_documented_error_is_tried_or_says_why_not() -> None:
    """What is tried elsewhere is there, and no reason is left over for an error that is not documented."""
    known = {(str(each), status) for each, status in _ALL}
    said = {(name, status) for name, found in NOT_TRIED.items() for status in found} | set(ELSEWHERE)
    assert said <= known
    for file, name in ELSEWHERE.values():
        assert f"def test_{name}(" in (Path(__file__).parents[1] / file).read_text()
