"""Numbers for Prometheus: requests as they pass, volumes and operations as the rows stand when somebody asks."""

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from nbdsvc.app import App
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.store import backends, nouns, tables

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


def request(method: str, status: int, seconds: float) -> None:
    _requests.labels(method, str(status)).inc()
    _seconds.labels(method).observe(seconds)


def render(app: App) -> bytes:
    """The page, in Prometheus' text format."""
    operations = tables.operations.c
    with app.database.read() as conn:
        _fill(conn, _volumes, tables.volumes.c.status)
        _fill(conn, _operations, operations.state)
        _fill_pools(conn)
        under_way = sa.select(*(sa.func.sum(operations[name]) for name in _SUMS.values()))
        sums = conn.execute(under_way.where(operations.state.in_(sorted(model.UNFINISHED)))).one()
    for gauge, found in zip(_SUMS, sums, strict=True):
        gauge.set(int(found or 0))
    return generate_latest(_registry)


def _fill_pools(conn: sa.Connection) -> None:
    _pool_bytes.clear()
    _lacking.clear()
    _pool_metadata.clear()
    pools = backends.all_pools(conn)
    for backend in nouns.backends.select(conn):
        for finding in backend.capabilities.get("findings", []):
            _lacking.labels(backend.host, finding["thing"]).set(1)
        for pool in pools.get(backend.id, []):
            name = names.join_host(backend.host, backend.name, pool.name)
            for what in ("total", "free", "provisioned", "allocated"):
                _pool_bytes.labels(name, what).set(getattr(pool, what))
            if pool.metadata_percent is not None:
                _pool_metadata.labels(name).set(pool.metadata_percent)


def _fill(conn: sa.Connection, gauge: Gauge, column: "sa.Column[str]") -> None:
    gauge.clear()
    for value, count in conn.execute(sa.select(column, sa.func.count()).group_by(column)):
        gauge.labels(value).set(count)
