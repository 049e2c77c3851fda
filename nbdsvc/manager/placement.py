"""Which host and pool a new volume goes to: the one with the most room among those that are up and take new volumes."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.driver import PoolStats
from nbdsvc.manager.app import App
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Service
from nbdsvc.store import nouns, tables
from nbdsvc.units import GiB

# A host is down when it missed two of its reports and some time for a slow one.
GRACE_SECONDS = 15


def is_up(app: App, service: Service) -> bool:
    """Whether the host reported in time and said that its driver works (row S022)."""
    return service.working and _age(app, service) < 2 * app.settings.repair_interval + GRACE_SECONDS


def _age(app: App, service: Service) -> float:
    """Seconds since its last report. Only of another process's host the time of day has to tell: it may have jumped since."""
    if service.host in app.heard:
        return clock.monotonic() - app.heard[service.host]
    return (clock.now() - (service.updated_at or service.created_at)).total_seconds()


def pools(service: Service) -> list[PoolStats]:
    return [PoolStats(**pool) for pool in service.capabilities.get("pools", [])]


def promised(conn: sa.Connection, host: str) -> int:
    """Bytes promised to the volumes of a pool, by our own rows: newer than any report."""
    size = sa.func.coalesce(tables.volumes.c.target_size, tables.volumes.c.size)
    total = conn.execute(
        sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(tables.volumes.c.host == host)
    ).scalar()
    return int(total or 0) * GiB


def room(conn: sa.Connection, host: str, pool: PoolStats) -> int:
    """Bytes that may still be promised, counting what was admitted since the pool's report."""
    newer = max(0, promised(conn, host) - pool.provisioned)
    return max(0, pool.room() - newer)


def choose(app: App, conn: sa.Connection, size: int, zone: str) -> str:
    """`host@backend#pool` in `zone` for a volume of `size` GiB; OutOfSpace or BackendUnavailable in words."""
    best: tuple[int, str] | None = None
    for service in nouns.services.select(conn):
        unusable = service.disabled or service.frozen or not is_up(app, service)
        if unusable or service.availability_zone != zone:
            continue
        for pool in pools(service):
            host = names.join_host(service.host, service.capabilities["backend"], pool.name)
            found = (room(conn, host, pool), host)
            best = max(best, found) if best else found
    if best is None:
        raise errors.BackendUnavailable(
            backend="any", reason=f"no storage host in zone {zone} is up and takes new volumes"
        )
    check_room(best[1], size, best[0])
    return best[1]


def check_room(host: str, size: int, free: int) -> None:
    if free < size * GiB:
        raise errors.OutOfSpace(
            pool=host, requested=size * GiB, free=free, reason=f"{size} GiB wanted, {free // GiB} GiB may be promised"
        )


def check_growth(app: App, conn: sa.Connection, host: str, more: int) -> None:
    """OutOfSpace when the pool of an existing volume cannot promise `more` GiB."""
    service = service_of(conn, host)
    for pool in pools(service) if service else []:
        if pool.name == names.split_host(host)[2]:
            check_room(host, more, room(conn, host, pool))


def service_of(conn: sa.Connection, host: str) -> Service | None:
    found = nouns.services.select(conn, tables.services.c.host == names.split_host(host)[0])
    return found[0] if found else None


def instant_snapshot(conn: sa.Connection, host: str) -> bool:
    """Whether that host's backend takes snapshots of volumes in use."""
    service = service_of(conn, host)
    return bool(service and service.capabilities.get("instant_snapshot"))


def instant_clone(conn: sa.Connection, host: str) -> bool:
    """Whether that host's backend clones without copying."""
    service = service_of(conn, host)
    return bool(service and service.capabilities.get("instant_clone"))
