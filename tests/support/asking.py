"""Bare HTTP requests to a service, for what a client library would hide: statuses, headers, malformed bodies."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from serving import ServiceProcess

UNKNOWN = "00000000-0000-4000-8000-000000000000"


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
