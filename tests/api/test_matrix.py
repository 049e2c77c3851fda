"""Who may do what: every operation of the OpenAPI document, requested by every caller who may not, on things of another project.

The operations are those of tests/support/operations_of.py, which test_replies.py holds against the document, so that a new
route is in the matrix by itself.
"""

import json
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import UNKNOWN, ask
from operations_of import OPERATIONS
from serving import ServiceProcess
from world import BACKENDS, MEMBER, TOKENS, Operation, World

READER, OTHER = "reader-token-0123456789", "other-token-0123456789"
MORE = f"""
[tokens.reader]
token = "{READER}"
project = "p1"
roles = ["reader"]
[tokens.other]
token = "{OTHER}"
project = "p2"
roles = ["member"]
"""
# Requests that need no token: their replies have nothing of any project.
OPEN = {"GET /", "GET /v3/", "GET /healthcheck", "GET /metrics"}
VERSION = {"OpenStack_API_Version": "volume 3.71"}
REMOTE = {"host": "elsewhere", "ip": "127.0.0.1"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OWNED = (
    "volumes", "snapshots", "backups", "attachments", "operations", "transfers", "volume_groups", "group_snapshots",
)  # fmt: skip


class Matrix:
    """The world of project p1, and what was said to those who are not in it."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.world = World(service)
        self.keyed = self.world.new_attachment(connector=REMOTE)
        self.replies: list[str] = []

    def ask(self, token: str, method: str, path: str, body: Any) -> tuple[int, str]:
        status, content, _ = ask(self.service, method, path, body, X_Auth_Token=token, **VERSION)
        text = content if isinstance(content, str) else json.dumps(content)
        if token != MEMBER:
            self.replies.append(text)
        return status, text

    def rows(self, ids: set[str]) -> list[tuple[Any, ...]]:
        """What the database has of these things, but for when it last changed."""
        with sqlite3.connect(f"file:{self.service.state}/nbdsvc.db?mode=ro", uri=True, timeout=30) as database:
            database.row_factory = sqlite3.Row
            return [
                (noun, *(row[key] for key in row.keys() if key in _KEPT))  # noqa: SIM118 - a Row iterates its values
                for noun in _OWNED
                for row in database.execute(f"SELECT * FROM {noun} ORDER BY id")
                if row["id"] in ids
            ]

    def secrets(self) -> set[str]:
        with sqlite3.connect(f"file:{self.service.state}/nbdsvc.db?mode=ro", uri=True, timeout=30) as database:
            return {str(row[0]) for row in database.execute("SELECT secret FROM attachments WHERE secret IS NOT NULL")}


# The fields that another project could change; statuses change by running operations too.
_KEPT = frozenset(
    "id project_id name description metadata image_metadata readonly bootable mode cancel_requested rate".split()
)


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    """A service with static tokens, whose exports are on the network with keys."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tokens = Path(folder) / "tokens.toml"
        tokens.write_text(TOKENS + MORE)
        tokens.chmod(0o600)
        given = {"auth": "token", "tokens_file": tokens, "nbd_listen": "127.0.0.1"}
        service = ServiceProcess(Path(folder), backends=BACKENDS, **given).start()
        yield Matrix(service)
        service.stop()
        service.end_exports()


def _elsewhere(value: Any) -> Any:
    """The same request for things that do not exist."""
    text = _UUID.sub(UNKNOWN, json.dumps(value))
    return json.loads(re.sub(r"\bp1\b", "p9", text))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name.replace("/v3/", ""))
def test_nobody_else_sees_or_changes_anything(matrix: Matrix, operation: Operation) -> None:
    """Without a token 401; a reader changes nothing; to another project its things are as if they did not exist."""
    method, path, body = operation.send(matrix.world)
    ids = set(_UUID.findall(path + json.dumps(body)))
    before = matrix.rows(ids)
    for token in ("", "wrong-token-0123456789"):
        status, _ = matrix.ask(token, method, path, body)
        assert (status == 401) is (operation.name not in OPEN), operation.name
    status, text = matrix.ask(READER, method, path, body)
    # As in Cinder, where volume:get_volume_metadata is the rule of this action.
    is_reading = method == "GET" or operation.name.endswith("os-show_image_metadata")
    if not is_reading or operation.admin:
        assert status == 403, (operation.name, text)
        assert "Policy doesn't allow" in text
    else:
        assert status == operation.status, (operation.name, text)
    there = matrix.ask(OTHER, method, path, body)
    if operation.name.endswith("/accept"):
        assert there[0] == 202  # by its key a transfer is for everybody
        return
    if operation.name.startswith(("GET /v3/types/{id}", "GET /v3/group_types/{id}")) and not operation.admin:
        assert there[0] == 200  # every project may see a public type; see the next test
        return
    nowhere = matrix.ask(OTHER, method, *_elsewhere([path, body]))
    assert _plain(there) == _plain(nowhere), operation.name
    if operation.admin:
        assert there[0] == 403, (operation.name, there)
    if method == "GET" and operation.name not in OPEN:
        assert not ids & set(_UUID.findall(there[1])) or there[0] >= 400, operation.name
    assert matrix.rows(ids) == before, operation.name


def test_a_private_type_is_for_its_projects(matrix: Matrix) -> None:
    """To others it does not exist, by its id as by its name, also for a creation."""
    id = matrix.world.private_type("p1")
    for path in (f"/v3/types/{id}", f"/v3/types/{id}/extra_specs"):
        assert matrix.ask(MEMBER, "GET", path, None)[0] == 200
        assert matrix.ask(OTHER, "GET", path, None)[0] == 404
    body = {"volume": {"size": 1, "volume_type": id}}
    assert matrix.ask(OTHER, "POST", "/v3/volumes", body)[0] == 404


def test_a_private_group_type_is_for_its_projects(matrix: Matrix) -> None:
    """To others it does not exist, by its id as by its name, also for a group."""
    id = matrix.world.private_group_type("p1")
    assert matrix.ask(MEMBER, "GET", f"/v3/group_types/{id}", None)[0] == 200
    assert "group_specs" not in matrix.ask(MEMBER, "GET", f"/v3/group_types/{id}", None)[1]
    assert matrix.ask(OTHER, "GET", f"/v3/group_types/{id}", None)[0] == 404
    assert id not in matrix.ask(OTHER, "GET", "/v3/group_types", None)[1]
    body = {"group": {"group_type": id, "volume_types": ["__DEFAULT__"]}}
    assert matrix.ask(OTHER, "POST", "/v3/groups", body)[0] == 404


def _plain(answered: tuple[int, str]) -> tuple[int, str]:
    """Without what differs from one request to the next: ids, projects and times, and of what succeeds the content."""
    status, text = answered
    if status < 400:
        return status, ""
    return status, re.sub(r"\bp[19]\b", "P", _UUID.sub("ID", text))


def test_lists_hold_only_the_projects_own(matrix: Matrix) -> None:
    """No filter, marker or flag shows another project anything."""
    mine = {row[1] for row in matrix.rows(_all_ids(matrix)) if row[2] == "p1"}
    assert len(mine) > 5
    for noun in (
        "volumes",
        "snapshots",
        "backups",
        "attachments",
        "operations",
        "messages",
        "groups",
        "group_snapshots",
    ):
        for query in ("", "?all_tenants=1", "?all_tenants=1&project_id=p1", "?project_id=p1", "?tenant_id=p1"):
            for path in (f"/v3/{noun}", f"/v3/{noun}/detail"):
                status, text = matrix.ask(OTHER, "GET", path + query, None)
                assert status < 500
                assert not mine & set(_UUID.findall(text)), (path, query)


def _all_ids(matrix: Matrix) -> set[str]:
    with sqlite3.connect(f"file:{matrix.service.state}/nbdsvc.db?mode=ro", uri=True, timeout=30) as database:
        return {str(row[0]) for noun in _OWNED for row in database.execute(f"SELECT id FROM {noun}")}


def test_a_key_is_for_who_may_attach(matrix: Matrix) -> None:
    """A member gets the key of a remote attachment, a reader everything but the key."""
    path = f"/v3/attachments/{matrix.keyed}"
    member = json.loads(matrix.ask(MEMBER, "GET", path, None)[1])["attachment"]["connection_info"]
    reader = json.loads(matrix.ask(READER, "GET", path, None)[1])["attachment"]["connection_info"]
    assert member.pop("tls_psk_key") in matrix.secrets()
    assert member == reader | {key: member[key] for key in member.keys() - reader.keys()}
    assert set(member) - set(reader) <= {"tls_psk_key"}


def test_no_reply_has_a_secret(matrix: Matrix) -> None:
    """Of all that readers, other projects and callers without a token got in this run."""
    secrets = matrix.secrets()
    assert len(matrix.replies) > 0
    assert secrets
    replies = "\n".join(matrix.replies)
    assert [secret for secret in secrets if secret in replies] == []
    assert READER not in replies
    assert matrix.service.log.read_text().count(MEMBER) == 0
    assert [secret for secret in secrets if secret in matrix.service.log.read_text()] == []
