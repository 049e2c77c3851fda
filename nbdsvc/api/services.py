"""/os-services: the storage hosts, whether they are up, and whether they take new volumes."""

from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import strict, views
from nbdsvc.api.request import Ask, Asked, Body, Key, LongText, answer
from nbdsvc.backends import placement
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import nouns

router = strict.router("services")

_CLUSTER_SINCE = (3, 7)


class ServiceBody(Body):
    """`service` is the older name of `binary`."""

    host: Key
    binary: Key | None = None
    service: Key | None = None
    cluster: str | None = None


class ReasonBody(ServiceBody):
    disabled_reason: Annotated[LongText, Field(min_length=1)]


@router.get("/os-services")
def listing(asked: Ask) -> JSONResponse:
    """All services, or those of `host` (a host's name, or host@backend) and `binary`."""
    asked.require_admin()
    host, binary = asked.query.get("host"), asked.query.get("binary")
    rows = [row for row in rows_of(asked) if host in (None, row.host, full_name(row)) and binary in (None, row.binary)]
    return answer({"services": [_view(asked, row) for row in rows]})


@router.put("/os-services/enable")
def enable(asked: Ask, body: ServiceBody) -> JSONResponse:
    """Let the host take new volumes again."""
    # The reference's sample has no disabled_reason here, what clients validate replies with has: null says the same.
    return _change(asked, body, {"disabled": False, "disabled_reason": None}, disabled_reason=None)


@router.put("/os-services/disable")
def disable(asked: Ask, body: ServiceBody) -> JSONResponse:
    """Keep new volumes away from the host."""
    return _change(asked, body, {"disabled": True})


@router.put("/os-services/disable-log-reason")
def disable_log_reason(asked: Ask, body: ReasonBody) -> JSONResponse:
    """Keep new volumes away from the host, and say why."""
    reason = body.disabled_reason
    return _change(asked, body, {"disabled": True, "disabled_reason": reason}, disabled_reason=reason)


def rows_of(asked: Asked) -> list[StorageBackend]:
    with asked.app.database.read() as conn:
        return nouns.backends.select(conn)


def full_name(row: StorageBackend) -> str:
    """host@backend, as clients name a service."""
    return row.full_name


def _change(asked: Asked, body: ServiceBody, changes: dict[str, Any], **shown: Any) -> JSONResponse:
    asked.require_admin()
    binary = body.binary or body.service
    with asked.app.change() as conn:
        found = [
            row
            for row in nouns.backends.select(conn)
            if body.host in (row.host, full_name(row)) and binary in (None, row.binary)
        ]
        if not found:
            raise errors.NotFound(resource=f"Service {binary or ''} on host".replace("  ", " "), id=body.host)
        # updated_at is the host's own heartbeat and stays so.
        for row in found:
            nouns.backends.update(conn, row.id, **changes, updated_at=row.updated_at)
    disabled = changes["disabled"]
    return answer({"host": body.host, "service": body.service or "", "binary": body.binary or "", "disabled": disabled,
                   "status": "disabled" if disabled else "enabled", **shown})  # fmt: skip


def _view(asked: Asked, row: StorageBackend) -> dict[str, Any]:
    shown = {
        "binary": row.binary,
        "host": full_name(row),
        "zone": row.availability_zone,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if placement.is_up(asked.app, row) else "down",
        "updated_at": views.stamp(row.updated_at),
        "disabled_reason": row.disabled_reason or _lacking(row),
        "replication_status": row.replication_status,
        "active_backend_id": row.active_backend_id,
        "frozen": row.frozen,
    }
    return shown | ({"cluster": None} if asked.version >= _CLUSTER_SINCE else {})


def _lacking(row: StorageBackend) -> str | None:
    """Why a host that nobody disabled does not do all that it should; the only field that clients show as a text."""
    found = row.capabilities.get("findings", [])
    return "; ".join(f"{each['thing']}: {each['reason']}" for each in found) or None
