"""Metrics for Prometheus: requests as they are answered; volumes, operations and pools as of the reply."""

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from nbdsvc.app import App
from nbdsvc.backends.pools import PoolReport, list_pools
from nbdsvc.backends.services import ServiceReport, list_services
from nbdsvc.statistics import statistics

_registry = CollectorRegistry()
_requests = Counter("nbdsvc_requests", "Requests answered.", ["method", "status"], registry=_registry)
_seconds = Histogram("nbdsvc_request_seconds", "Time from request to answer.", ["method"], registry=_registry)
_volumes = Gauge("nbdsvc_volumes", "Volumes by status.", ["status"], registry=_registry)
_operations = Gauge("nbdsvc_operations", "Operations by state.", ["state"], registry=_registry)
_done = Gauge("nbdsvc_copy_done_bytes", "Bytes done by operations under way.", registry=_registry)
_total = Gauge("nbdsvc_copy_total_bytes", "Bytes to do for operations under way.", registry=_registry)
_data = Gauge("nbdsvc_copy_data_bytes", "Bytes that operations under way had to write.", registry=_registry)
_rate = Gauge("nbdsvc_copy_bytes_per_second", "How fast operations under way go, together.", registry=_registry)
_SUMS = {_done: "progress_done", _total: "progress_total", _data: "progress_data", _rate: "progress_rate"}

_pool_bytes = Gauge("nbdsvc_pool_bytes", "Room of pools, as last reported.", ["pool", "what"], registry=_registry)
_pool_metadata = Gauge("nbdsvc_pool_metadata_percent", "How full pools' metadata is.", ["pool"], registry=_registry)
_lacking = Gauge("nbdsvc_host_lacks", "1 for each thing that a host lacks.", ["host", "thing"], registry=_registry)


def count_request(method: str, status: int, seconds: float) -> None:
    """Count a reply, and the time that it took."""
    _requests.labels(method, str(status)).inc()
    _seconds.labels(method).observe(seconds)


def render(app: App) -> bytes:
    """The page, in Prometheus' text format."""
    found = statistics(app)
    for gauge, counts in ((_volumes, found.volumes), (_operations, found.operations)):
        _fill(gauge, counts)
    for gauge, name in _SUMS.items():
        gauge.set(getattr(found, name))
    _fill_findings(list_services(app))
    _fill_pools(list_pools(app))
    return generate_latest(_registry)


def _fill(gauge: Gauge, counts: Mapping[str, int]) -> None:
    gauge.clear()
    for value, count in counts.items():
        gauge.labels(value).set(count)


def _fill_findings(services: list[ServiceReport]) -> None:
    _lacking.clear()
    for service in services:
        for thing, _reason in service.findings:
            _lacking.labels(service.row.host, thing).set(1)


def _fill_pools(pools: list[PoolReport]) -> None:
    _pool_bytes.clear()
    _pool_metadata.clear()
    for pool in pools:
        for what in ("total", "free", "provisioned", "allocated"):
            if (count := getattr(pool.stats, what)) != "unknown":
                _pool_bytes.labels(pool.name, what).set(math.inf if count == "infinite" else count)
        if pool.stats.metadata_percent is not None:
            _pool_metadata.labels(pool.name).set(pool.stats.metadata_percent)
