"""Chooses the pool of a new volume, and checks its room: gives the reported pools and our rows to the scheduler."""

from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.driver import PoolStats, unsupported
from nbdsvc.model import clock, names
from nbdsvc.model.entities import StorageBackend, VolumeType
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.rank import rank
from nbdsvc.store import backends, repositories, tables
from nbdsvc.units import GiB

# A backend is down when it missed two of its reports and some time for a slow one.
GRACE_SECONDS = 15


def is_up(app: App, backend: StorageBackend) -> bool:
    """Whether the backend reported in time, and reported a working driver."""
    return backend.working and _age(app, backend) < 2 * app.settings.repair_interval + GRACE_SECONDS


def _age(app: App, backend: StorageBackend) -> float:
    """Seconds since its last report. Only of another process's backend the time of day has to tell, which may have jumped."""
    if backend.full_name in app.last_heartbeat:
        return clock.monotonic() - app.last_heartbeat[backend.full_name]
    return (clock.now() - (backend.updated_at or backend.created_at)).total_seconds()


def choose_pool(
    app: App, conn: sa.Connection, size: int, zone: str, volume_type: VolumeType, *, multiattach: bool = False
) -> str:
    """`host@backend#pool` for a new volume of `size` GiB of this type.

    BackendUnavailable where no backend can take it, OutOfSpace where the one with the most room has too little.
    """
    request = Request(size * GiB, zone, volume_type.extra_specs, multiattach)
    best = rank(request, _candidates(app, conn))[0]
    check_room(best.full_name, size, best.room)
    return best.full_name


def choose_pool_of_copy(
    app: App, conn: sa.Connection, source: str, size: int, zone: str, volume_type: VolumeType, *, same_type: bool
) -> str:
    """`host@backend#pool` for a new volume of `size` GiB with the bytes of what is in the pool `source`.

    That pool, or where it has no room and the backend copies bytes: its best other pool. BackendUnavailable where the pool
    cannot take it or is sick, OutOfSpace where none has the room.
    """
    if not same_type:
        check_type(app, conn, source, volume_type)
    try:
        check_growth(app, conn, source, size)
    except errors.OutOfSpace:
        there = [each for each in _candidates(app, conn) if names.split_host(source)[:2] == (each.host, each.backend)]
        others = [each for each in there if each.full_name != source and each.room >= size * GiB]
        if instant_clone(conn, source) or not others:
            raise
        return rank(Request(size * GiB, zone, volume_type.extra_specs), others)[0].full_name
    return source


def check_type(app: App, conn: sa.Connection, host: str, volume_type: VolumeType) -> None:
    """BackendUnavailable where the pool of a volume's source, which the volume shares, is none for this type."""
    there = [each for each in _candidates(app, conn) if each.full_name == host and each.enabled and each.up]
    for each in there:
        rank(Request(0, each.zone, volume_type.extra_specs), [each])


def _candidates(app: App, conn: sa.Connection) -> list[Candidate]:
    pools = backends.all_pools(conn)
    return [
        _candidate(app, conn, row, pool) for row in repositories.backends.select(conn) for pool in pools.get(row.id, [])
    ]


def _candidate(app: App, conn: sa.Connection, row: StorageBackend, pool: PoolStats) -> Candidate:
    full_name = names.join_host(row.host, row.name, pool.name)
    return Candidate(
        row.host, row.name, pool, row.availability_zone,
        up=is_up(app, row) and not pool.fault,
        enabled=not (row.disabled or row.frozen),
        room=room(conn, full_name, pool),
        capabilities=capabilities(row, pool),
    )  # fmt: skip


def capabilities(row: StorageBackend, pool: PoolStats) -> dict[str, Any]:
    """The capabilities that volume types can require, by Cinder's names."""
    reported = row.capabilities
    return {
        "volume_backend_name": row.name,
        "pool_name": pool.name,
        # All transports of the backend: a type that asks for the second one is served too.
        "storage_protocol": reported.get("storage_protocols", [reported.get("storage_protocol")]),
        "vendor_name": "nbdsvc",
        "driver_version": reported.get("description", {}).get("driver_version"),
        "thin_provisioning": pool.thin,
        "thin_provisioning_support": pool.thin,
        "thick_provisioning_support": not pool.thin,
        "multiattach": reported.get("multiattach", True),
        "compression": False,
        "QoS_support": False,
        "replication_enabled": False,
        "reserved_percentage": pool.reserved_percentage,
        "total_capacity_gb": round(pool.total / GiB, 2),
        "free_capacity_gb": round(pool.free / GiB, 2),
        **reported.get("extra", {}),
    }


def promised(conn: sa.Connection, host: str) -> int:
    """Bytes promised to the volumes of a pool, by our own rows: newer than any report."""
    size = sa.func.coalesce(tables.volumes.c.target_size, tables.volumes.c.size)
    total = conn.execute(sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(*repositories.in_pool(host))).scalar()
    return int(total or 0) * GiB


def room(conn: sa.Connection, host: str, pool: PoolStats) -> int:
    """Bytes that may still be promised, counting what was submitted since the pool's report."""
    newer = max(0, promised(conn, host) - pool.provisioned)
    return max(0, pool.room() - newer)


def check_room(host: str, size: int, free: int) -> None:
    """OutOfSpace where fewer than `size` GiB of the `free` bytes may be promised."""
    if free < size * GiB:
        raise errors.OutOfSpace(
            pool=host, requested=size * GiB, free=free, reason=f"{size} GiB wanted, {free // GiB} GiB may be promised"
        )


def check_growth(app: App, conn: sa.Connection, host: str, more: int) -> None:
    """OutOfSpace when the pool of an existing volume cannot promise `more` GiB, BackendUnavailable while it is sick."""
    backend = backends.find(conn, host)
    for pool in backends.pools(conn, backend.id) if backend else []:
        if pool.name == names.split_host(host)[2]:
            if pool.fault:
                raise errors.BackendUnavailable(backend=host, reason=pool.fault)
            check_room(host, more, room(conn, host, pool))


def instant_snapshot(conn: sa.Connection, host: str) -> bool:
    """Whether that backend takes snapshots of volumes in use."""
    backend = backends.find(conn, host)
    return bool(backend and backend.capabilities.get("instant_snapshot"))


def instant_clone(conn: sa.Connection, host: str) -> bool:
    """Whether that backend clones without copying."""
    backend = backends.find(conn, host)
    return bool(backend and backend.capabilities.get("instant_clone"))


def require(conn: sa.Connection, host: str, protocol: str) -> None:
    """Unsupported where the driver of that backend does not implement the protocol (a name of driver.PROTOCOLS).

    A backend that did not report what it implements, or an older version did, says so in the operation.
    """
    backend = backends.find(conn, host)
    reported = backend.capabilities if backend else {}
    if backend and protocol not in reported.get("protocols", [protocol]):
        raise unsupported(backend.full_name, reported["driver"], protocol)
