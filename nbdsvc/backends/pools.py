"""The pools of all backends, as these reported them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.driver import PoolStats
from nbdsvc.model import names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.scheduler.candidate import Request
from nbdsvc.scheduler.decide import judge
from nbdsvc.scheduler.filters import CAPABILITIES
from nbdsvc.store import backends, repositories


@dataclass(frozen=True)
class PoolReport:
    """The last report of one pool of a backend."""

    backend: StorageBackend
    # Sizes in bytes.
    stats: PoolStats

    @property
    def name(self) -> str:
        """host@backend#pool; cluster@backend#pool of one that several hosts see."""
        return names.join_host(self.backend.cluster or self.backend.host, self.backend.name, self.stats.name)

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """Capabilities of its backend: storage_protocol, description, filter_function ..."""
        return self.backend.capabilities

    @property
    def driver_version(self) -> str:
        """The version of the driver that reported it."""
        return str(self.capabilities["description"]["driver_version"])


def list_pools(app: App, extra_specs: Mapping[str, str] | None = None) -> list[PoolReport]:
    """The pools of every backend, as of its last report; with `extra_specs`, those that meet them. A pool that the hosts of a
    cluster see is one pool, as the newest report of one that works has it.

    Raises BackendUnavailable without the database.
    """
    with app.database.read() as conn:
        pools = backends.all_pools(conn)
        found = [
            PoolReport(row, stats) for row in repositories.backends.select(conn) for stats in pools.get(row.id, [])
        ]
        fit = _meeting(app, conn, extra_specs) if extra_specs else None
    return [pool for pool in _once(found) if fit is None or pool.name in fit]


def _once(found: list[PoolReport]) -> list[PoolReport]:
    best: dict[str, PoolReport] = {}
    for pool in found:
        known = best.get(pool.name)
        if known is None or _standing(pool) > _standing(known):
            best[pool.name] = pool
    return list(best.values())


def _standing(pool: PoolReport) -> tuple[bool, datetime]:
    """The more, the better a report tells how the pool is."""
    return pool.backend.working and not pool.stats.fault, pool.backend.updated_at or pool.backend.created_at


def _meeting(app: App, conn: sa.Connection, extra_specs: Mapping[str, str]) -> set[str]:
    request = Request(0, "", extra_specs)
    able = [each for each in placement.candidates(app, conn) if not judge(request, each, (CAPABILITIES,))]
    return {names.join_host(each.cluster or each.host, each.backend, each.pool.name) for each in able}


def get_capabilities(app: App, host: str) -> Mapping[str, Any]:
    """The capabilities that a backend of `host` (host, host@backend, or cluster@backend) reported. Raises NotFound."""
    with app.database.read() as conn:
        rows = repositories.backends.select(conn)
    for row in rows:
        if host in (row.host, row.full_name, row.cluster_name) and row.capabilities.get("description"):
            return row.capabilities
    raise errors.NotFound(resource="Host", id=host)
