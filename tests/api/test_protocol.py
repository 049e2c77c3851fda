"""Versions, faults, pages, filters, limits of size: what every client relies on, as a table."""

import os
import socket
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

from nbdsvc.cli import serve
from nbdsvc.config import Settings


def test_version_document_needs_no_token(shared_service: ServiceProcess) -> None:
    """GET / answers 300 with the range of microversions, GET /v3/ 200, GET /v3 a redirect."""
    status, content, headers = ask(shared_service, "GET", "/")
    assert (status, content["versions"][0]["version"], content["versions"][0]["min_version"]) == (300, "3.71", "3.0")
    assert headers["openstack-api-version"] == "volume 3.0"
    assert headers["x-openstack-request-id"].startswith("req-")
    assert headers["vary"] == "OpenStack-API-Version"
    assert ask(shared_service, "GET", "/", OpenStack_API_Version="volume 3.70")[1] == content
    assert ask(shared_service, "GET", "/v3/")[0] == 200
    assert ask(shared_service, "GET", "/v3")[0] == 302


@pytest.mark.parametrize(
    ("header", "status", "answered"),
    [
        (None, 200, "volume 3.0"),
        ("volume 3.71", 200, "volume 3.71"),
        ("volume latest", 200, "volume 3.71"),
        ("volume 3.72", 406, "volume 3.0"),
        ("volume 2.0", 406, "volume 3.0"),
        ("volume 3", 400, "volume 3.0"),
        ("compute 2.1", 400, "volume 3.0"),
        ("junk", 400, "volume 3.0"),
    ],
)
def test_microversions(shared_service: ServiceProcess, header: str | None, status: int, answered: str) -> None:
    """Absent is 3.0, latest the maximum, malformed 400, outside the range 406."""
    given = {"OpenStack_API_Version": header} if header else {}
    found, content, headers = ask(shared_service, "GET", "/v3/volumes", **given)
    assert (found, headers["openstack-api-version"]) == (status, answered)
    if status == 406:
        assert "maximum is 3.71" in content["computeFault"]["message"]


FAULTS: list[tuple[str, str, Any, int, str, str]] = [
    ("GET", "/v3/volumes/" + UNKNOWN, None, 404, "itemNotFound", "could not be found"),
    ("GET", "/v3/p1/snapshots/" + UNKNOWN, None, 404, "itemNotFound", "could not be found"),
    ("GET", "/v3/nothing/here", None, 404, "itemNotFound", ""),
    ("PATCH", "/v3/volumes", None, 405, "badMethod", ""),
    ("POST", "/v3/volumes", {}, 400, "badRequest", "volume"),
    ("POST", "/v3/volumes", {"volume": {}}, 400, "badRequest", "size"),
    ("POST", "/v3/volumes", {"volume": {"size": "x"}}, 400, "badRequest", "size"),
    ("POST", "/v3/volumes", {"volume": {"size": -1}}, 400, "badRequest", "size"),
    ("POST", "/v3/volumes", {"volume": {"size": 0}}, 400, "badRequest", "size"),
    ("POST", "/v3/volumes", {"volume": {"size": 10**12}}, 400, "badRequest", "size"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "name": "a\nb"}}, 400, "badRequest", "name"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "name": "a\x00"}}, 400, "badRequest", "name"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "name": "n" * 256}}, 400, "badRequest", "name"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "metadata": {"k": 1}}}, 400, "badRequest", "metadata"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "volume_type": "none"}}, 404, "itemNotFound", "Volume type"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": "none"}}, 404, "itemNotFound", "Image"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": "/etc/shadow"}}, 400, "badRequest", "imageRef"),
    ("POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": "file:///etc/shadow"}}, 400, "badRequest", "imageRef"),
    ("POST", "/v3/volumes", {"volume": {"size": 200000}}, 413, "overLimit", "gigabytes"),
    (
        "POST",
        "/v3/volumes",
        {"volume": {"snapshot_id": UNKNOWN, "source_volid": UNKNOWN}},
        400,
        "badRequest",
        "only one",
    ),
    ("POST", f"/v3/volumes/{UNKNOWN}/action", {"os-extend": {"new_size": 2}}, 404, "itemNotFound", "Volume"),
    ("POST", f"/v3/volumes/{UNKNOWN}/action", {"os-extend": {"new_size": "x"}}, 400, "badRequest", "new_size"),
    ("POST", f"/v3/volumes/{UNKNOWN}/action", {"os-explode": {}}, 400, "badRequest", "os-explode"),
    ("POST", f"/v3/volumes/{UNKNOWN}/action", {}, 400, "badRequest", "exactly one"),
    ("POST", f"/v3/volumes/{UNKNOWN}/action", {"os-reserve": None, "os-extend": {}}, 400, "badRequest", "exactly one"),
    ("GET", "/v3/volumes?limit=-1", None, 400, "badRequest", "limit"),
    ("GET", "/v3/volumes?limit=x", None, 400, "badRequest", "limit"),
    ("GET", "/v3/volumes?sort=colour", None, 400, "badRequest", "sort"),
    ("GET", "/v3/volumes?marker=" + UNKNOWN, None, 404, "itemNotFound", UNKNOWN),
    ("GET", "/v3/attachments", None, 404, "itemNotFound", ""),
    ("PUT", "/v3/os-quota-sets/p1", {"quota_set": {"volumes": "x"}}, 400, "badRequest", "volumes"),
    ("PUT", "/v3/os-quota-sets/p1", {"quota_set": {"bananas": 1}}, 400, "badRequest", "bananas"),
    ("DELETE", "/v3/volumes/" + UNKNOWN, None, 404, "itemNotFound", "Volume"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "fault", "word"), FAULTS)
def test_every_fault_has_its_status_envelope_and_reason(
    shared_service: ServiceProcess, method: str, path: str, body: Any, status: int, fault: str, word: str
) -> None:
    """A bad request is answered with the envelope of OpenStack, and the message names what is wrong."""
    found, content, headers = ask(shared_service, method, path, body)
    assert (found, list(content)) == (status, [fault]), content
    assert content[fault]["code"] == status
    assert word in content[fault]["message"]
    assert status != 413 or headers["retry-after"] == "0"


def test_replies_are_sent_at_once() -> None:
    """The listening socket says TCP, for asyncio switches Nagle's algorithm off only then: 40 ms for each kept reply."""
    listener = serve._bind(Settings(port=0))
    with listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_body_of_another_type_is_refused(shared_service: ServiceProcess) -> None:
    """A content type that is not JSON is 415; none at all, or JSON with parameters or a suffix, is read as JSON."""
    body = b'{"volume": {"size": 1}}'
    for given, status in (("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json; charset=utf-8", 202),
                          ("application/vnd.x+json", 202), ("", 202)):  # fmt: skip
        found, content, _ = ask(shared_service, "POST", "/v3/volumes", raw=body, Content_Type=given)
        assert (found, "badMediaType" in content) == (status, status == 415), given


def test_malformed_and_oversize_bodies(shared_service: ServiceProcess) -> None:
    """Broken JSON is 400; a body over the limit is 413, announced or not."""
    assert ask(shared_service, "POST", "/v3/volumes", raw=b"{")[0] == 400
    assert ask(shared_service, "POST", "/v3/volumes", raw=b"\xff\xfe")[0] == 400
    assert ask(shared_service, "POST", "/v3/volumes", raw=b"[" * 200_000)[0] == 413
    assert ask(shared_service, "POST", "/v3/volumes", raw=b"[" * 50_000)[0] == 400


@pytest.mark.row("S036", "S022", "S080", "S020")
def test_service_pools_and_capabilities(shared_service: ServiceProcess) -> None:
    """The host is up, its pool has the name host@backend#pool, its capabilities say what it can do."""
    row = ask(shared_service, "GET", "/v3/os-services")[1]["services"][0]
    assert (row["state"], row["status"], row["host"]) == ("up", "enabled", "me@file")
    pool = ask(shared_service, "GET", "/v3/scheduler-stats/get_pools?detail=true")[1]["pools"][0]
    assert pool["name"] == "me@file#file"
    assert pool["capabilities"]["total_capacity_gb"] > 0
    found = ask(shared_service, "GET", "/v3/capabilities/me@file")[1]
    assert found["properties"]["thin_provisioning"]["default"] is True
    assert ask(shared_service, "GET", "/v3/capabilities/other@file")[0] == 404


def test_a_disabled_service_takes_no_new_volume(service: ServiceProcess) -> None:
    """Disabled: creating is answered with the reason, and works again when it is enabled."""
    assert ask(service, "PUT", "/v3/os-services/disable", {"host": "me@file", "binary": "cinder-volume"})[0] == 200
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})
    assert (status, list(content)) == (503, ["serviceUnavailable"])
    assert ask(service, "PUT", "/v3/os-services/enable", {"host": "me@file"})[0] == 200
    assert ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})[0] == 202


def test_pages_reach_every_volume_once(service: ServiceProcess) -> None:
    """Following the next links in any order shows each volume exactly once."""
    made = [
        ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, "name": f"v{i % 3}"}})[1]["volume"]["id"]
        for i in range(7)
    ]
    service.settle()
    for order in ("created_at:asc", "name:desc", "name:asc,size:desc", "size"):
        seen, path = [], f"/v3/p1/volumes?limit=2&sort={order}"
        while path:
            content = ask(service, "GET", path)[1]
            seen += [row["id"] for row in content["volumes"]]
            link = content.get("volumes_links")
            path = link[0]["href"].partition(service.url.removesuffix("/v3"))[2] if link else ""
        assert sorted(seen) == sorted(made), order
    named = ask(service, "GET", "/v3/volumes/detail?name=v1&status=available")[1]["volumes"]
    assert {row["name"] for row in named} == {"v1"}
    assert len(named) == 2


def test_quotas_are_exact_and_refuse(service: ServiceProcess) -> None:
    """A quota allows exactly its number, also from many clients at once; what fails counts for nothing."""
    import threading

    ask(service, "PUT", "/v3/os-quota-sets/p1", {"quota_set": {"volumes": 3}})
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(ask(service, "POST", "/v3/volumes", {"volume": {"size": 1}})[0])
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202] * 3 + [413] * 5
    used = ask(service, "GET", "/v3/os-quota-sets/p1?usage=true")[1]["quota_set"]
    assert (used["volumes"]["in_use"], used["gigabytes"]["in_use"]) == (3, 3)


def test_health_and_metrics(shared_service: ServiceProcess) -> None:
    """Both answer anybody."""
    assert ask(shared_service, "GET", "/healthcheck")[:2] == (200, "OK")
    page = ask(shared_service, "GET", "/metrics")[1]
    assert "nbdsvc_requests_total" in page
    assert 'nbdsvc_pool_bytes{pool="me@file#file",what="free"}' in page


# Of each operation. `make api-fuzz` tries more; in CI they are the same each time (conftest.py).
EXAMPLES = int(os.environ.get("NBDSVC_TEST_EXAMPLES", "12"))


@pytest.mark.timeout(300 + 4 * EXAMPLES)
def test_openapi_is_served_and_nothing_breaks_the_service(shared_service: ServiceProcess) -> None:
    """schemathesis finds no request within or beyond the document that is answered with a 5xx."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error

    root = shared_service.url.removesuffix("/v3")
    schema = schemathesis.openapi.from_url(f"{root}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
        @given(operation.as_strategy())
        def call(case: Any) -> None:
            nonlocal tried
            tried += 1
            response = case.call(headers={"X-Auth-Token": "t:p9", "OpenStack-API-Version": "volume 3.71"})
            case.validate_response(response, checks=(not_a_server_error,))

        call()
    assert tried > 300
