"""Every operation of the OpenAPI document, at every microversion where its reply changes, for a member and an administrator."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from operations_of import OPERATIONS
from serving import ServiceProcess
from shapes import Version, boundaries, faults
from world import BACKENDS, TOKENS, Operation, World

MAXIMUM = (3, 71)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A service with tokens, something of every kind in it."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tokens = Path(folder) / "tokens.toml"
        tokens.write_text(TOKENS)
        tokens.chmod(0o600)
        service = ServiceProcess(Path(folder), backends=BACKENDS, auth="token", tokens_file=tokens).start()
        yield World(service)
        service.stop()
        service.end_exports()


def documented(service: ServiceProcess) -> set[str]:
    """METHOD path of every operation, and of every action that a body may name."""
    document = ask(service, "GET", "/openapi.json")[1]
    found = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            actions = _alternatives(operation)
            found |= {f"{name} {action}" for action in actions} if actions else {name}
    return found


def _alternatives(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return [each["required"][0] for each in content.get("schema", {}).get("oneOf", [])]


def test_the_table_has_every_operation(world: World) -> None:
    """A route or an action without its reply in the table, or a reply without its route, is an error."""
    assert {each.name for each in OPERATIONS} == documented(world.service)
    assert len(OPERATIONS) == len({each.name for each in OPERATIONS})


def test_every_operation_says_what_it_does(world: World) -> None:
    """The OpenAPI document describes each operation: the docstring of its route."""
    paths = ask(world.service, "GET", "/openapi.json")[1]["paths"]
    silent = [
        (path, method) for path, found in paths.items() for method in found if not found[method].get("description")
    ]
    assert silent == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name.replace("/v3/", ""))
def test_a_reply_has_exactly_its_keys(world: World, operation: Operation) -> None:
    """The documented status and keys, no more and no less; before its microversion and for others it is refused."""
    for version, admin in itertools.product(versions(operation), (True, False)):
        method, path, body = operation.send(world)
        status, content, headers = world.ask(method, path, body, version, admin=admin)
        described = f"{operation.name} at {version} {'admin' if admin else 'member'}: {status} {content}"
        if operation.admin and not admin:
            assert status in ((403, 404) if version < operation.since else (403,)), described
        elif version < operation.since:
            assert status == 404, described
        else:
            assert status == operation.status, described
            assert_reply(operation, content, headers, version, admin, described)


def assert_reply(
    operation: Operation, content: Any, headers: dict[str, str], version: Version, admin: bool, described: str
) -> None:
    if operation.shape is None:
        assert content is None, described
        assert "content-type" not in headers, described
    elif operation.shape != "text":
        assert faults(operation.shape, content, version, admin) == [], described


def versions(operation: Operation) -> list[Version]:
    """Where something changes, the version before it, the first and the last."""
    changes = boundaries(operation.shape) | {operation.since}
    before = {(major, minor - 1) for major, minor in changes if minor}
    return sorted(each for each in changes | before | {(3, 0), MAXIMUM} if each <= MAXIMUM)
