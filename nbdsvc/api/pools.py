"""/scheduler-stats/get_pools and /capabilities: the room and the features of the storage backends."""

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from nbdsvc.api import filters, strict, views
from nbdsvc.api.request import ApiRequest, CurrentRequest, answer
from nbdsvc.backends.placement import supports_qos
from nbdsvc.backends.pools import PoolReport, get_capabilities, list_pools
from nbdsvc.types.queries import get_type
from nbdsvc.units import shown_gigabytes

router = strict.router("pools")

_NAME_SINCE, _STRICT_SINCE, _TYPE_SINCE = (3, 28), (3, 31), (3, 35)
_NOT_CAPABILITIES = frozenset({"name", "detail", "volume_type"})
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})


@router.get("/scheduler-stats/get_pools")
def pools(request: CurrentRequest) -> JSONResponse:
    """List the pools of all backends. Filters: `name` from 3.28, until 3.30 any capability too, `volume_type`
    (whose extra specs the pool meets) from 3.35. For administrators.

    Errors: 400 badRequest (from 3.31, an unknown filter); 403 forbidden (the caller is no administrator); 404
    itemNotFound (type).
    """
    detail = request.flag("detail")
    filters.parse(request, "pools")
    found = [pool for pool in list_pools(request.app, _specs(request)) if _matches(request, pool)]
    shown = [{"name": pool.name} | ({"capabilities": _view(pool)} if detail else {}) for pool in found]
    return answer({"pools": shown})


@router.get("/capabilities/{host}")
def capabilities(request: CurrentRequest, host: str) -> JSONResponse:
    """Show what a backend can do and which extra specs it reads. For administrators.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (host).
    """
    found = get_capabilities(request.app, host)
    shown = {
        "namespace": f"OS::Storage::Capabilities::{host}",
        "pool_name": None,
        "display_name": None,
        "description": None,
        "visibility": None,
        "storage_protocol": found["storage_protocol"],
        "replication_targets": found.get("replication_targets", []),
    }
    return answer(shown | found["description"])


def _specs(request: ApiRequest) -> Mapping[str, str]:
    """The extra specs that the pools have to meet."""
    if request.version < _TYPE_SINCE or "volume_type" not in request.query:
        return {}
    return get_type(request.app, request.context, request.query["volume_type"]).extra_specs


def _matches(request: ApiRequest, pool: PoolReport) -> bool:
    if request.version < _NAME_SINCE:
        return True
    if request.query.get("name", pool.name) != pool.name:
        return False
    # From 3.31 on, filters.parse has refused every filter that is not known, and the known ones are no capabilities.
    shown = _view(pool)
    wanted = {key: value for key, value in request.query.items() if key not in _NOT_CAPABILITIES}
    return request.version >= _STRICT_SINCE or all(_equals(shown.get(key), value) for key, value in wanted.items())


def _equals(capability: Any, wanted: str) -> bool:
    """By Cinder's rule: a boolean by its words, everything else by its text."""
    if isinstance(capability, bool):
        return capability is (wanted.strip().lower() in _TRUE)
    return capability is not None and str(capability) == wanted


def _view(pool: PoolReport) -> dict[str, Any]:
    stats, reported = pool.stats, pool.capabilities
    return {
        **reported.get("extra", {}),
        "volume_backend_name": pool.backend.name,
        "pool_name": stats.name,
        "storage_protocol": reported["storage_protocol"],
        "vendor_name": "nbdsvc",
        "driver_version": pool.driver_version,
        "total_capacity_gb": shown_gigabytes(stats.total),
        "free_capacity_gb": shown_gigabytes(stats.free),
        "allocated_capacity_gb": shown_gigabytes(stats.allocated),
        "provisioned_capacity_gb": shown_gigabytes(stats.provisioned),
        "reserved_percentage": stats.reserved_percentage,
        "max_over_subscription_ratio": str(stats.max_over_subscription_ratio),
        "thin_provisioning_support": stats.thin,
        "thick_provisioning_support": not stats.thin,
        "total_volumes": stats.volumes,
        "metadata_percent": stats.metadata_percent,
        "multiattach": reported.get("multiattach", True),
        "secure_file_operations": reported.get("secure_file_operations", False),
        "QoS_support": supports_qos(reported, stats),
        "filter_function": reported["filter_function"],
        "goodness_function": reported["goodness_function"],
        "timestamp": views.stamp(pool.backend.updated_at),
        "backend_state": "up" if pool.backend.working and not stats.fault else "down",
    }
