"""/os-hosts: the storage hosts and how much of whom is on each, for clients from before /os-services."""

from collections import defaultdict
from typing import Any

from fastapi.responses import JSONResponse

from nbdsvc import errors
from nbdsvc.api import strict, views
from nbdsvc.api.request import Ask, Asked, answer
from nbdsvc.api.services import full_name, rows_of
from nbdsvc.backends import placement
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import nouns

router = strict.router("hosts")

_TOTAL = "(total)"


@router.get("/os-hosts")
def listing(asked: Ask) -> JSONResponse:
    """All hosts, or those of the zone `zone`."""
    asked.require_admin()
    zone = asked.query.get("zone") or None
    return answer({"hosts": [_view(asked, row) for row in rows_of(asked) if zone in (None, row.availability_zone)]})


@router.get("/os-hosts/{host}")
def show(asked: Ask, host: str) -> JSONResponse:
    """What is on the host host@backend: first all of it, then project by project."""
    asked.require_admin()
    if host not in {full_name(row) for row in rows_of(asked)}:
        raise errors.NotFound(resource="Host", id=host)
    used = _used(asked, host)
    return answer({"host": [{"resource": _resource(host, project, *used[project])} for project in used]})


def _view(asked: Asked, row: StorageBackend) -> dict[str, Any]:
    return {
        "host_name": full_name(row),
        "service": row.binary,
        "zone": row.availability_zone,
        "service-status": "available" if placement.is_up(asked.app, row) else "unavailable",
        "service-state": "disabled" if row.disabled else "enabled",
        "last-update": views.stamp(row.updated_at),
    }


def _used(asked: Asked, host: str) -> dict[str, list[int]]:
    """By project: volumes, their GiB, snapshots, their GiB."""
    used: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    with asked.app.database.read() as conn:
        volumes = {row.id: row for row in nouns.volumes.select(conn) if row.full_host.partition("#")[0] == host}
        snapshots = [row for row in nouns.snapshots.select(conn) if row.volume_id in volumes]
    counted = [(row.project_id, 0, row.size) for row in volumes.values()]
    counted += [(row.project_id, 2, row.volume_size) for row in snapshots]
    for project, column, size in ((name, at, size) for own, at, size in counted for name in (_TOTAL, own)):
        used[project][column] += 1
        used[project][column + 1] += size
    return {_TOTAL: used[_TOTAL], **used}


def _resource(
    host: str, project: str, volumes: int, volume_gib: int, snapshots: int, snapshot_gib: int
) -> dict[str, str]:
    return {
        "host": host,
        "project": project,
        "volume_count": str(volumes),
        "total_volume_gb": str(volume_gib),
        "snapshot_count": str(snapshots),
        "total_snapshot_gb": str(snapshot_gib),
    }
