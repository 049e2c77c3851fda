"""/scheduler-stats/get_pools and /capabilities: what the storage hosts have and can do."""

from typing import Any

from fastapi.responses import JSONResponse

from nbdsvc import errors
from nbdsvc.api import filters, strict, views
from nbdsvc.api.request import Ask, Asked, answer
from nbdsvc.api.services import rows_of
from nbdsvc.driver import PoolStats
from nbdsvc.model import names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import backends
from nbdsvc.types.queries import get_type
from nbdsvc.units import GiB

router = strict.router("pools")

_NAME_SINCE, _TYPE_SINCE = (3, 28), (3, 35)


@router.get("/scheduler-stats/get_pools")
def pools(asked: Ask) -> JSONResponse:
    """The pools of all hosts. Filters: `name` from 3.28, `volume_type` (the pools whose backend it names) from 3.35."""
    asked.require_admin()
    detail = asked.flag("detail")
    filters.known(asked, "pools")
    found = []
    with asked.app.database.read() as conn:
        pools = backends.all_pools(conn)
    for row in rows_of(asked):
        for pool in pools.get(row.id, []):
            name = names.join_host(row.host, row.name, pool.name)
            if _wanted(asked, row, name):
                found.append({"name": name} | ({"capabilities": _pool(row, pool)} if detail else {}))
    return answer({"pools": found})


@router.get("/capabilities/{host}")
def capabilities(asked: Ask, host: str) -> JSONResponse:
    """What the backend of a host can do, and which extra specs it understands."""
    asked.require_admin()
    for row in rows_of(asked):
        if host in (row.host, row.full_name) and row.capabilities.get("description"):
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


def _wanted(asked: Asked, row: StorageBackend, name: str) -> bool:
    if asked.version >= _NAME_SINCE and asked.query.get("name", name) != name:
        return False
    if asked.version < _TYPE_SINCE or "volume_type" not in asked.query:
        return True
    specs = get_type(asked.app, asked.context, asked.query["volume_type"]).extra_specs
    return bool(specs.get("volume_backend_name", row.name) == row.name)


def _pool(row: StorageBackend, pool: PoolStats) -> dict[str, Any]:
    return {
        "volume_backend_name": row.name,
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
        "multiattach": row.capabilities.get("multiattach", True),
        "QoS_support": False,
        "filter_function": row.capabilities["filter_function"],
        "goodness_function": row.capabilities["goodness_function"],
        "timestamp": views.stamp(row.updated_at),
        "backend_state": "up" if row.working else "down",
    }
