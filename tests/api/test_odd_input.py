"""Nothing that a client can send is answered with a 5xx: odd ids, fields, bodies, queries and headers of every operation."""

import copy
import http.client
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from asking import ask
from hypothesis import given
from hypothesis import strategies as st
from operations_of import OPERATIONS
from serving import ServiceProcess
from world import ADMIN, BACKENDS, TOKENS, Operation, World

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.filters import FILTERS

IDS = [
    "%00",
    "a%00b",
    "a%2Fb",
    "x" * 300,
    "%ff",
    "%ed%a0%80",
    "%F0%9F%92%A9",
    "%E2%80%AE",
    "%2e%2e",
    "%0a",
    "'%20OR%201=1",
    '"',
]
# JSON texts, because Python's json module cannot write all of these values.
VALUES = ["NaN", "-Infinity", "1e400", "1" + "0" * 400, "1" + "0" * 5000, '"\\ud800"', '"a\\u0000b"', '"\\ud83d\\udca9"',
          '"\\u202e\\u0007"', '"%s"' % ("x" * 300), "null", "[]", "{}", "-0", "true", "1.5", '{"\\udfff": 1}', '{"\\u0000": "x"}',
          "[" * 2000 + "]" * 2000]  # fmt: skip
BODIES = [b"", b"null", b"[]", b'"x"', b"7", b"{", b"\xff", "{}".encode("utf-16"), b"\xef\xbb\xbf{}", b"[" * 50_000,
          b'{"a":' * 15_000 + b"1" + b"}" * 15_000, b"NaN", b'{"\\ud800":1}', b'{"volume":1,"volume":2}']  # fmt: skip
QUERIES = ["%00", "99999999999999999999", "9" * 5000, "-1", "%C2%B2", "", "NaN", "1e9", "%ff", "{'a':'b'}", "{'\"':'b'}",
           "{'a\\x00':'b'}", "{'\\ud800':'b'}", "[" * 3000, "{1:{2:3}}", "__class__", "metadata:asc", "id.asc", "id:asc,id:desc",
           "%F0%9F%92%A9", "x" * 3000]  # fmt: skip
PARAMETERS = sorted(
    set().union(*FILTERS.values())
    | {"limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "is_public", "name~", "size~",
       "bootable~", "metadata~", "display_name", "tenant_id", "detail", "usage", "volume_type", "resource", "binary", "zone",
       "force", "cascade", "%00", "%ff"}
)  # fmt: skip
# Lists whose parameters are not only compared with columns.
PARSED = ("volumes", "snapshots", "operations", "manageable_volumes")
HEADERS = [("X-Auth-Token", "\xff:\xfe"), ("X-Project-Id", "x" * 300), ("X-User-Id", "u" * 300), ("X-User-Id", "\xff"),
           ("OpenStack-API-Version", "volume 3.\xb2"), ("OpenStack-API-Version", ","), ("If-Match", '"\xff'), ("Host", "["),
           ("Host", "[::1"), ("Host", "a b"), ("Host", ""), ("Host", "h:99999"), ("Host", "\xff"), ("Content-Type", "\xff"),
           ("Content-Type", "text/plain"), ("Content-Type", "application/json; charset=utf-16"), ("Content-Type", "")]  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Something of every kind, on either database."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tokens = Path(folder) / "tokens.toml"
        tokens.write_text(TOKENS)
        tokens.chmod(0o600)
        settings: dict[str, Any] = {"backends": BACKENDS, "auth": "token", "tokens_file": tokens, "attach_timeout": 10}
        if request.param == "postgresql":
            settings["database"] = request.getfixturevalue("postgres").database()
        service = ServiceProcess(Path(folder), **settings).start()
        yield World(service)
        service.stop()
        service.end_exports()


class Sender:
    """Sends bytes as they are, over one connection while it holds, and counts."""

    def __init__(self, world: World) -> None:
        where = urlsplit(world.service.url)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        self.sent = 0

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> int:
        """The status; an AssertionError for a 5xx."""
        given = {"X-Auth-Token": ADMIN, "Content-Type": "application/json", "OpenStack-API-Version": "volume 3.71"}
        given |= {key.replace("_", "-"): value for key, value in headers.items()}
        given |= {"Content-Length": str(len(body))} if body is not None else {}
        self._connection.putrequest(method, target, skip_host="Host" in given, skip_accept_encoding=True)
        for key, value in given.items():
            self._connection.putheader(key, value)
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        content = response.read()
        self.sent += 1
        assert response.status < 500, (method, target[:200], (body or b"")[:200], headers, content[:300])
        return response.status


def paths(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a JSON value."""
    yield where
    for key, below in value.items() if isinstance(value, dict) else ():
        yield from paths(below, (*where, key))


def odd(body: Any, where: tuple[Any, ...], value: str) -> bytes:
    """The body as JSON text with this value at this place."""
    made = copy.deepcopy(body)
    at = made
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = "@@"
    return json.dumps(made).replace('"@@"', value).encode()


def fields(document: dict[str, Any], operation: Operation) -> list[str]:
    """The optional fields of a body, of the object in it, by the OpenAPI document."""
    method, path, *_ = operation.name.split()
    found = document["paths"][path][method.lower()].get("requestBody", {})
    schema = found.get("content", {}).get("application/json", {}).get("schema", {})
    alternatives = [each["properties"] for each in schema.get("oneOf", [])] or [
        _resolved(document, schema).get("properties", {})
    ]
    objects = [
        value
        for properties in alternatives
        for key, value in properties.items()
        if key in operation.name or not schema.get("oneOf")
    ]
    return sorted({name for each in objects for name in _resolved(document, each).get("properties", {})})


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(document["components"]["schemas"][name]) if name else schema


def test_odd_fields(world: World) -> None:
    """Every field of every body with odd values in turn, in a body that is good otherwise."""
    document, sender, values = ask(world.service, "GET", "/openapi.json")[1], Sender(world), itertools.cycle(VALUES)
    for operation in OPERATIONS:
        method, target, body = operation.send(world)
        if not isinstance(body, dict):
            continue
        outer = next(iter(body), None)
        more = (
            [(outer, name) for name in ("odd", *fields(document, operation))]
            if isinstance(body.get(outer), dict)
            else []
        )
        for where in {*list(paths(body))[1:], *more, ("odd",)}:
            for value in itertools.islice(values, 6):
                sender.send(method, target, odd(body, where, value))
        world.enable()
    assert sender.sent > 1000


@pytest.mark.parametrize("reference", ["file://[x", "http://[bad", "http://h:99999/", "http:///x", ":abc", "file:", "/", "//x",
                                       "/dev/full/x", "#", "x#y", "?", "\u202e", "file:///%00"])  # fmt: skip
def test_odd_images(shared_service: ServiceProcess, reference: str) -> None:
    """An image that is none is refused or not found, whatever its name looks like."""
    assert ask(shared_service, "POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": reference}})[0] in (400, 404)


def test_a_link_that_leads_to_itself_is_no_image(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """In a folder that the administrator allowed: refused with the reason."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    service = make_service(image_paths=str(tmp_path))
    body = {"volume": {"size": 1, "imageRef": str(tmp_path / "loop")}}
    assert ask(service, "POST", "/v3/volumes", body)[0] == 400


def test_odd_bodies(world: World) -> None:
    """Every operation that takes a body, with what is no JSON, no object, too deep, or in another encoding."""
    sender = Sender(world)
    for operation in OPERATIONS:
        method, target, body = operation.send(world)
        for content in BODIES if body is not None else ():
            assert 400 <= sender.send(method, target, content) < 500


def test_odd_ids(world: World) -> None:
    """Every address with odd ids, read, changed and deleted."""
    sender = Sender(world)
    requests = itertools.cycle(
        [("GET", None), ("DELETE", None), ("PUT", b"{}"), ("POST", b'{"os-reserve":{}}'), ("GET", None)]
    )
    for name in sorted({operation.name.split()[1] for operation in OPERATIONS if "{" in operation.name}):
        for id in IDS:
            method, body = next(requests)
            sender.send(method, "/".join(id if part.startswith("{") else part for part in name.split("/")), body)
    for id in IDS:
        sender.send("GET", f"/v3/{id}/volumes")


def test_odd_queries(world: World) -> None:
    """Every list with every parameter that any list knows, and odd values in turn; what is parsed with all of them."""
    sender, values, versions = Sender(world), itertools.cycle(QUERIES), itertools.cycle(["volume 3.71", "volume 3.30"])
    found = {op.name.split()[1] for op in OPERATIONS if op.name.startswith("GET /v3/") and "{" not in op.name}
    lists = sorted(name for name in found if "-manage" not in name)  # these are older names of the manageable_ lists
    for target, parameter in itertools.product(lists, PARAMETERS):
        pool = "&host=me@file%23file" if "manag" in target and parameter != "host" else ""
        where = f"{target}?{parameter}={next(values)}{pool}"
        sender.send("GET", where, OpenStack_API_Version=next(versions))
    for target, parameter, value in itertools.product(PARSED, ("marker", "metadata", "sort"), QUERIES):
        sender.send("GET", f"/v3/{target}?host=me@file%23file&{parameter}={value}", OpenStack_API_Version="volume 3.30")


def test_odd_headers(world: World) -> None:
    """Reading and writing, with headers that no client library would send."""
    for key, value in HEADERS:
        for method, target, body in (("GET", "/v3/volumes?limit=1", None), ("GET", "/", None), ("GET", "/v3", None),
                                     ("PUT", f"/v3/volumes/{world.attached}/metadata", b'{"metadata":{}}')):  # fmt: skip
            Sender(world).send(method, target, body, **{key.replace("-", "_"): value})


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode),
                 st.text(alphabet='"\\u0d8fe[]{}:,-1.NInfatyE+ ', max_size=40).map(str.encode)))  # fmt: skip
def test_a_body_that_is_read_can_be_stored_and_said(content: bytes) -> None:
    """Whatever the bytes are: a value without NUL that is JSON and UTF-8 again, or a refusal with its reason."""
    try:
        found = strict.parse(content)
    except errors.InvalidInput as error:
        assert error.reason
        str(error).encode()
    else:
        text = json.dumps(found, allow_nan=False, ensure_ascii=False)
        text.encode()
        assert "\\u0000" not in text
