"""Chooses the pool of a new volume, and checks its room: gives the reported pools and our rows to the scheduler.

Of two that are submitted at once the second has to see what the first one promised. SQLite has one writer; on PostgreSQL the
submitting transaction locks the pool by name, and looks again. One pool only: those that go to others are not waited for.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.driver import FILTER, GOODNESS, PoolStats, unsupported
from nbdsvc.model import clock, names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.model.groups import CONSISTENT, REPLICATED
from nbdsvc.scheduler.candidate import Candidate, Nearness, Request
from nbdsvc.scheduler.decide import Decision, decide, judge
from nbdsvc.scheduler.filters import CAPABILITIES, NEARNESS, Filter
from nbdsvc.store import backends, clusters, promises, repositories
from nbdsvc.units import GiB, shown_gigabytes

# A backend is down when two reports are missing, and this many seconds more for a report that is slow.
GRACE_SECONDS = 15
_NO_POOL = PoolStats("", 0, 0, 0, 0, 0)


def is_up(app: App, backend: StorageBackend) -> bool:
    """Whether the backend reported in time, and reported a working driver."""
    return backend.working and not is_late(app, backend)


def is_late(app: App, backend: StorageBackend) -> bool:
    """Whether its last report is too old."""
    return age(app, backend) >= late_after(app)


def late_after(app: App) -> float:
    """Seconds after which a report is too old."""
    return 2 * app.settings.repair_interval + GRACE_SECONDS


def age(app: App, backend: StorageBackend) -> float:
    """Seconds since its last report; of another process's backend by the database's time of day, which may have jumped."""
    if backend.full_name in app.last_heartbeat:
        return clock.monotonic() - app.last_heartbeat[backend.full_name]
    return (clock.now() - (backend.updated_at or backend.created_at)).total_seconds()


def choose_pool(app: App, conn: sa.Connection, request: Request) -> str:
    """`host@backend#pool` for a new volume.

    NoValidBackend where no backend can take it, NoRoom where one could if it had the room; both say why of each.
    """
    return choose_among(app, conn, request, lambda: candidates(app, conn))


def choose_among(app: App, conn: sa.Connection, request: Request, pools: Callable[[], Sequence[Candidate]]) -> str:
    """As `choose_pool`, of these pools: of another one where the best has been filled since they were read."""
    while True:
        best = decide(request, pools(), app.settings.scheduler_weights).best
        if reserve(app, conn, best.full_name, request.size, best.pool):
            return best.full_name


def choose(app: App, conn: sa.Connection, request: Request) -> Decision:
    """What becomes of each pool for a new volume."""
    return decide(request, candidates(app, conn), app.settings.scheduler_weights)


def choose_pool_of_copy(app: App, conn: sa.Connection, source: str, request: Request, *, same_type: bool) -> str:
    """`host@backend#pool` for a new volume with the bytes of what is in the pool `source`.

    That pool, or where it has no room and the backend copies bytes: its best other pool. BackendUnavailable where the pool
    cannot take it or is sick, OutOfSpace where none has the room.
    """
    if not same_type:
        check_type(app, conn, source, request.extra_specs)
    check_nearness(app, conn, source, request.near)
    try:
        check_growth(app, conn, source, request.size // GiB)
    except errors.OutOfSpace:
        while not instant_clone(conn, source) and (others := _others(app, conn, source, request.size)):
            best = decide(request, others, app.settings.scheduler_weights).best
            if reserve(app, conn, best.full_name, request.size, best.pool):
                return best.full_name
        raise
    return source


def _others(app: App, conn: sa.Connection, source: str, size: int) -> list[Candidate]:
    """The other pools of this one's backend that have the room."""
    there = [each for each in candidates(app, conn) if names.split_host(source)[:2] == (each.host, each.backend)]
    return [each for each in there if each.full_name != source and each.room >= size]


def check_type(app: App, conn: sa.Connection, host: str, extra_specs: Mapping[str, str]) -> None:
    """NoValidBackend where the pool of a volume's source, which the volume shares, is none for this type."""
    there = [each for each in _pool(app, conn, host) if each.enabled and each.up]
    _check(Request(0, "", extra_specs), there, (CAPABILITIES,))


def check_nearness(app: App, conn: sa.Connection, host: str, near: Nearness) -> None:
    """NoValidBackend where the pool of a volume's source, which the volume shares, is not where the hints want it."""
    _check(Request(0, "", near=near), _pool(app, conn, host), NEARNESS)


def _pool(app: App, conn: sa.Connection, host: str) -> list[Candidate]:
    return [each for each in candidates(app, conn) if each.full_name == host]


def _check(request: Request, pools: list[Candidate], filters: Sequence[Filter]) -> None:
    for each in pools:
        if refusal := judge(request, each, filters):
            raise errors.NoValidBackend(backend=each.backend_name, reason=str(refusal))


def candidates(app: App, conn: sa.Connection) -> list[Candidate]:
    """Every pool that a backend reported; of a backend that reports none, because it is down, one without a name."""
    pools, sums, measured = backends.all_pools(conn), promises.by_pool(conn), backends.all_measured(conn)
    rows, disabled = repositories.backends.select(conn), clusters.disabled(conn)
    shared = _promised_to_clusters(rows, sums)
    found = []
    for row in rows:
        cluster = row.cluster_name
        for pool in pools.get(row.id, [_NO_POOL]):
            served = sums.get((row.host, row.name, pool.name), 0)
            promised = shared.get((cluster, pool.name), served) if cluster else served
            room = _room(pool, promised, measured.get((row.id, pool.name)))
            found.append(_candidate(app, row, pool, promised, room, is_closed=cluster in disabled, served=served))
    return found


def _promised_to_clusters(
    rows: Sequence[StorageBackend], sums: Mapping[tuple[str, str, str], int]
) -> dict[tuple[str | None, str], int]:
    """Bytes promised to each pool that several hosts see, by all of them: cluster@backend, pool."""
    found: dict[tuple[str | None, str], int] = defaultdict(int)
    cluster_of = {(row.host, row.name): row.cluster_name for row in rows if row.cluster}
    for (host, backend, pool), promised in sums.items():
        if (host, backend) in cluster_of:
            found[cluster_of[host, backend], pool] += promised
    return dict(found)


def _candidate(
    app: App,
    row: StorageBackend,
    pool: PoolStats,
    promised: int,
    room: float,
    *,
    is_closed: bool,
    served: int,
) -> Candidate:
    return Candidate(
        row.host, row.name, pool, row.availability_zone,
        up=is_up(app, row) and not pool.fault,
        enabled=not (is_closed or row.disabled or row.frozen or row.replication_status == "failing-over"),
        room=room,
        promised=max(promised, pool.provisioned),
        capabilities=capabilities(row, pool),
        filter_function=row.capabilities.get(FILTER),
        goodness_function=row.capabilities.get(GOODNESS),
        cluster=row.cluster,
        served=served,
    )  # fmt: skip


def capabilities(row: StorageBackend, pool: PoolStats) -> dict[str, Any]:
    """The capabilities that volume types can require, by Cinder's names."""
    reported = row.capabilities
    protocols, replicates = reported.get("protocols", ()), bool(reported.get("replication"))
    return {
        "volume_backend_name": row.name,
        "pool_name": pool.name,
        # All transports of the backend, so that a type may require any of them.
        "storage_protocol": reported.get("storage_protocols", [reported.get("storage_protocol")]),
        "vendor_name": "nbdsvc",
        "driver_version": reported.get("description", {}).get("driver_version"),
        "thin_provisioning": pool.thin,
        "thin_provisioning_support": pool.thin,
        "thick_provisioning_support": not pool.thin,
        "multiattach": reported.get("multiattach", True),
        "compression": False,
        "QoS_support": False,
        # A snapshot of volumes that are not in use is of one moment anyway; others are refused where it cannot be.
        CONSISTENT: "SnapshotDriver" in protocols or "GroupDriver" in protocols,
        **dict.fromkeys(REPLICATED, replicates and "GroupReplicationDriver" in protocols),
        # Both spellings of the extra spec.
        "replication": replicates,
        "replication_enabled": replicates,
        "reserved_percentage": pool.reserved_percentage,
        "total_capacity_gb": shown_gigabytes(pool.total),
        "free_capacity_gb": shown_gigabytes(pool.free),
        **reported.get("extra", {}),
    }


def _room(pool: PoolStats, promised: int, measured: int | None) -> float:
    """Bytes that may still be promised, without what was since the pool's report; infinite where it has no number."""
    return max(0, pool.room() - max(0, promised - (pool.provisioned if measured is None else measured)))


def _room_now(conn: sa.Connection, host: str, pool: PoolStats) -> float:
    backend = backends.find(conn, host)
    measured = backends.all_measured(conn).get((backend.id, pool.name)) if backend else None
    return _room(pool, promises.of_pool(conn, host), measured)


def reserve(app: App, conn: sa.Connection, host: str, size: int, pool: PoolStats) -> bool:
    """Hold the pool for this transaction, which promises `size` bytes of it; False where it has no room for them."""
    return app.database.lock_name_if(conn, f"room-{_storage(conn, host)}", lambda: _room_now(conn, host, pool) >= size)


def _storage(conn: sa.Connection, host: str) -> str:
    """What all hosts that see the pool call it: cluster@backend#pool."""
    row, pool = backends.find(conn, host), names.split_host(host)[2]
    return f"{row.cluster_name}#{pool}" if row and row.cluster_name else host


def check_growth(app: App, conn: sa.Connection, host: str, more: int) -> None:
    """OutOfSpace when the pool of an existing volume cannot promise `more` GiB, BackendUnavailable while it is sick."""
    backend = backends.find(conn, host)
    for pool in backends.pools(conn, backend.id) if backend else []:
        if pool.name == names.split_host(host)[2]:
            if pool.fault:
                raise errors.BackendUnavailable(backend=host, reason=pool.fault)
            if not reserve(app, conn, host, more * GiB, pool):
                raise _full(host, more, _room_now(conn, host, pool))


def _full(host: str, size: int, free: float) -> errors.OutOfSpace:
    reason = f"{size} GiB wanted, {free // GiB:.0f} GiB may be promised"
    return errors.OutOfSpace(pool=host, requested=size * GiB, free=free, reason=reason)


def instant_snapshot(conn: sa.Connection, host: str) -> bool:
    """Whether that backend takes snapshots of volumes in use."""
    backend = backends.find(conn, host)
    return bool(backend and backend.capabilities.get("instant_snapshot"))


def instant_clone(conn: sa.Connection, host: str) -> bool:
    """Whether that backend clones without copying."""
    backend = backends.find(conn, host)
    return bool(backend and backend.capabilities.get("instant_clone"))


def implements(conn: sa.Connection, host: str, protocol: str) -> bool:
    """Whether the driver of that backend reported that it implements the protocol (a name of driver.PROTOCOLS)."""
    backend = backends.find(conn, host)
    return backend is not None and protocol in backend.capabilities.get("protocols", ())


def require(conn: sa.Connection, host: str, protocol: str) -> None:
    """Unsupported where the driver of that backend does not implement the protocol (a name of driver.PROTOCOLS).

    A backend that did not report what it implements, or an older version did, says so in the operation.
    """
    backend = backends.find(conn, host)
    reported = backend.capabilities if backend else {}
    if backend and protocol not in reported.get("protocols", [protocol]):
        raise unsupported(backend.full_name, reported["driver"], protocol)
