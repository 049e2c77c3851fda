"""Bare HTTP requests to a service, for what a client library would hide: statuses, headers, malformed bodies."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from serving import ServiceProcess

UNKNOWN = "00000000-0000-4000-8000-000000000000"
NEWEST = "volume 3.71"


def ask(
    service: ServiceProcess, method: str, path: str, body: Any = None, raw: bytes | None = None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    where = urlsplit(service.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    given = {"X-Auth-Token": "t:p1", "Content-Type": "application/json"}
    given |= {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(
        method, path, raw if raw is not None else (json.dumps(body) if body is not None else None), given
    )
    response = connection.getresponse()
    content = response.read()
    try:
        decoded = json.loads(content) if content else None
    except ValueError:
        decoded = content.decode()
    return response.status, decoded, {key.lower(): value for key, value in response.getheaders()}


def good(service: ServiceProcess, method: str, path: str, body: Any = None) -> Any:
    """The content of the reply to a request of the newest microversion, which is done. path: below /v3/."""
    status, content, _ = ask(service, method, f"/v3/{path}", body, OpenStack_API_Version=NEWEST)
    assert status < 300, (path, content)
    return content


def refused(service: ServiceProcess, status: int, reason: str, method: str, path: str, body: Any = None) -> None:
    """With this status, and a message that has this reason."""
    found, content, _ = ask(service, method, f"/v3/{path}", body, OpenStack_API_Version=NEWEST)
    assert (found, reason in str(content)) == (status, True), content


def made(service: ServiceProcess, noun: str, **fields: Any) -> str:
    """The id of a new resource, once it is available. noun: volume, snapshot, backup."""
    id = str(good(service, "POST", f"{noun}s", {noun: fields})[noun]["id"])
    assert service.wait_status(f"{noun}s", id) == "available"
    return id


def new_volume(service: ServiceProcess, **fields: Any) -> str:
    """`made`, of a volume: of 1 GiB where the fields do not say more."""
    return made(service, "volume", **{"size": 1, **fields})


def new_specs(service: ServiceProcess, name: str, **fields: Any) -> str:
    """The id of new QoS specs."""
    return str(good(service, "POST", "qos-specs", {"qos_specs": {"name": name, **fields}})["qos_specs"]["id"])


def new_type(service: ServiceProcess, name: str, specs: str | None = None, **fields: Any) -> str:
    """The id of a new volume type. specs: the id of its QoS specs."""
    id = str(good(service, "POST", "types", {"volume_type": {"name": name, **fields}})["volume_type"]["id"])
    if specs:
        good(service, "GET", f"qos-specs/{specs}/associate?vol_type_id={id}")
    return id
