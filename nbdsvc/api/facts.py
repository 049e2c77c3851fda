"""What the service says of itself: limits, quotas, services, pools, capabilities, zones, extensions."""

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import paging, views
from nbdsvc.api.request import MAX_INTEGER, Ask, Asked, Body, Key, LongText, answer
from nbdsvc.driver import PoolStats
from nbdsvc.manager import placement
from nbdsvc.model import names
from nbdsvc.model.entities import Service
from nbdsvc.store import nouns, quotas, tables
from nbdsvc.units import GiB

router = APIRouter(tags=["service"])

Limit = Annotated[int, Field(ge=-1, le=MAX_INTEGER)]


class QuotaChanges(Body):
    volumes: Limit | None = None
    snapshots: Limit | None = None
    gigabytes: Limit | None = None
    per_volume_gigabytes: Limit | None = None
    backups: Limit | None = None
    backup_gigabytes: Limit | None = None
    groups: Limit | None = None
    tenant_id: Any = None


class QuotaBody(Body):
    quota_set: QuotaChanges


class ServiceBody(Body):
    host: Key
    binary: Key | None = None
    disabled_reason: LongText | None = None


@router.get("/limits")
def limits(asked: Ask) -> JSONResponse:
    project = asked.context.project_id
    with asked.app.database.read() as conn:
        allowed = quotas.limits(conn, project, asked.app.settings.quotas)
        used = quotas.usage(conn, project)
    absolute = {
        "maxTotalVolumes": allowed["volumes"],
        "maxTotalSnapshots": allowed["snapshots"],
        "maxTotalVolumeGigabytes": allowed["gigabytes"],
        "maxTotalBackups": allowed["backups"],
        "maxTotalBackupGigabytes": allowed["backup_gigabytes"],
        "totalVolumesUsed": used["volumes"],
        "totalSnapshotsUsed": used["snapshots"],
        "totalGigabytesUsed": used["gigabytes"],
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return answer({"limits": {"rate": [], "absolute": absolute}})


@router.get("/os-quota-sets/{project}/defaults")
def default_quotas(asked: Ask, project: str) -> JSONResponse:
    return answer({"quota_set": {"id": project, **asked.app.settings.quotas}})


@router.get("/os-quota-sets/{project}")
def show_quotas(asked: Ask, project: str) -> JSONResponse:
    _own_project(asked, project)
    return answer({"quota_set": {"id": project, **_quotas(asked, project, asked.flag("usage"))}})


@router.put("/os-quota-sets/{project}")
def set_quotas(asked: Ask, project: str, body: QuotaBody) -> JSONResponse:
    asked.require_admin()
    wanted = body.quota_set.model_dump(exclude_none=True, exclude={"tenant_id"})
    if len(project) > 255:
        raise errors.InvalidInput(field="project_id", value=project[:80], reason="is too long")
    with asked.app.change() as conn:
        quotas.set_limits(conn, project, wanted)
    return answer({"quota_set": _quotas(asked, project, False)})


@router.delete("/os-quota-sets/{project}")
def reset_quotas(asked: Ask, project: str) -> JSONResponse:
    asked.require_admin()
    with asked.app.change() as conn:
        quotas.reset_limits(conn, project)
    return answer({})


@router.get("/os-services")
def services(asked: Ask) -> JSONResponse:
    asked.require_admin()
    return answer({"services": [_service(asked, row) for row in _services(asked)]})


@router.put("/os-services/{action}")
def change_service(asked: Ask, action: str, body: ServiceBody) -> JSONResponse:
    asked.require_admin()
    changes: dict[str, dict[str, Any]] = {
        "enable": {"disabled": False, "disabled_reason": None},
        "disable": {"disabled": True},
        "disable-log-reason": {"disabled": True, "disabled_reason": body.disabled_reason},
    }
    if action not in changes:
        raise errors.NotFound(resource="Service action", id=action)
    host = names.split_host(body.host)[0]
    with asked.app.change() as conn:
        found = nouns.services.select(conn, tables.services.c.host == host)
        if not found:
            raise errors.NotFound(resource="Service", id=body.host)
        # updated_at is the host's own heartbeat and stays so.
        nouns.services.update(conn, found[0].id, **changes[action], updated_at=found[0].updated_at)
    status = "enabled" if action == "enable" else "disabled"
    return answer({"host": body.host, "service": "nbdsvc-host", "disabled": status == "disabled", "status": status,
                   "binary": "nbdsvc-host", "disabled_reason": body.disabled_reason})  # fmt: skip


@router.get("/scheduler-stats/get_pools")
def pools(asked: Ask) -> JSONResponse:
    asked.require_admin()
    detail = asked.flag("detail")
    found = []
    for row in _services(asked):
        for pool in placement.pools(row):
            name = names.join_host(row.host, row.capabilities["backend"], pool.name)
            found.append({"name": name} | ({"capabilities": _pool(row, pool)} if detail else {}))
    return answer({"pools": found})


@router.get("/capabilities/{host}")
def capabilities(asked: Ask, host: str) -> JSONResponse:
    asked.require_admin()
    for row in _services(asked):
        if row.host == names.split_host(host)[0] and row.capabilities.get("description"):
            described = {
                "namespace": f"OS::Storage::Capabilities::{host}",
                "pool_name": None,
                "display_name": None,
                "description": None,
                "visibility": None,
                "storage_protocol": row.capabilities["storage_protocol"],
                "replication_targets": [],
            }
            return answer(described | row.capabilities["description"])
    raise errors.NotFound(resource="Host", id=host)


@router.get("/os-availability-zone")
def zones(asked: Ask) -> JSONResponse:
    found = sorted({row.availability_zone for row in _services(asked)} or {"nova"})
    return answer({"availabilityZoneInfo": [{"zoneName": name, "zoneState": {"available": True}} for name in found]})


@router.get("/resource_filters")
def resource_filters(asked: Ask) -> JSONResponse:
    """What each resource's list may be filtered by; from 3.33."""
    asked.require((3, 33))
    shown = {name.rstrip("s"): list(fields) for name, fields in paging.FILTERS.items()}
    shown["volume"].append("metadata")
    wanted = asked.query.get("resource")
    return answer({"resource_filters": [{"resource": name, "filters": fields}
                                        for name, fields in shown.items() if wanted in (None, name)]})  # fmt: skip


@router.get("/extensions")
def extensions(asked: Ask) -> JSONResponse:
    """No extensions: all that is served is part of the API itself."""
    return answer({"extensions": []})


def _services(asked: Asked) -> list[Service]:
    with asked.app.database.read() as conn:
        return nouns.services.select(conn)


def _service(asked: Asked, row: Service) -> dict[str, Any]:
    return {
        "binary": row.binary,
        "host": names.join_host(row.host, row.capabilities.get("backend", "")),
        "zone": row.availability_zone,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if placement.is_up(asked.app, row) else "down",
        "updated_at": views.stamp(row.updated_at),
        "disabled_reason": row.disabled_reason,
        "replication_status": "disabled",
        "active_backend_id": None,
        "frozen": row.frozen,
    }


def _pool(row: Service, pool: PoolStats) -> dict[str, Any]:
    return {
        "volume_backend_name": row.capabilities["backend"],
        "pool_name": pool.name,
        "storage_protocol": row.capabilities["storage_protocol"],
        "vendor_name": "nbdsvc",
        "driver_version": row.capabilities["description"]["driver_version"],
        "total_capacity_gb": round(pool.total / GiB, 2),
        "free_capacity_gb": round(pool.free / GiB, 2),
        "allocated_capacity_gb": round(pool.allocated / GiB, 2),
        "provisioned_capacity_gb": round(pool.provisioned / GiB, 2),
        "reserved_percentage": pool.reserved_percentage,
        "max_over_subscription_ratio": str(pool.max_over_subscription_ratio),
        "thin_provisioning_support": pool.thin,
        "thick_provisioning_support": not pool.thin,
        "total_volumes": pool.volumes,
        "metadata_percent": pool.metadata_percent,
        "multiattach": True,
        "QoS_support": False,
        "filter_function": row.capabilities["filter_function"],
        "goodness_function": row.capabilities["goodness_function"],
        "timestamp": views.stamp(row.updated_at),
        "backend_state": "up" if row.working else "down",
    }


def _own_project(asked: Asked, project: str) -> None:
    if project != asked.context.project_id and not asked.context.is_admin:
        raise errors.Forbidden(reason="Only an administrator sees another project's quotas.")


def _quotas(asked: Asked, project: str, with_usage: bool) -> dict[str, Any]:
    with asked.app.database.read() as conn:
        allowed = quotas.limits(conn, project, asked.app.settings.quotas)
        used = quotas.usage(conn, project)
    if not with_usage:
        return dict(allowed)
    return {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0, "allocated": 0}
        for name, limit in allowed.items()
    }
