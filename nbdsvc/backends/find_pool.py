"""The pool that a client names."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.driver import PoolStats
from nbdsvc.model import names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import backends, clusters


def find_pool(app: App, conn: sa.Connection, host: str) -> str:
    """`host@backend#pool` for what a client wrote: all of it; host@backend or host where that has one pool only.

    Raises InvalidInput where there is no such pool or several are meant, BackendUnavailable where its service is disabled
    or down, or the pool is sick.
    """
    service, pools = _find(app, conn, host)
    if len(pools) > 1:
        known = ", ".join(names.join_host(service.host, service.name, each.name) for each in pools)
        raise errors.InvalidInput(field="host", value=host[:80], reason=f"it has several pools: name one of {known}")
    return names.join_host(service.host, service.name, pools[0].name)


def find_pools(app: App, conn: sa.Connection, host: str) -> str:
    """The same for one pool or all of a backend: host@backend where no pool is named and it has several."""
    service, pools = _find(app, conn, host)
    return names.join_host(service.host, service.name, pools[0].name if len(pools) == 1 else "")


def find_in_cluster(app: App, conn: sa.Connection, cluster: str) -> str:
    """The name at a host of the cluster whose service is up, for what a client wrote: cluster@backend, or with #pool.

    Raises InvalidInput where no cluster has this name, BackendUnavailable where none of its services is up and enabled.
    """
    name, backend, pool = names.split_host(cluster)
    members = clusters.members(conn, names.join_host(name, backend))
    if not members:
        reason = "no cluster has this name: cluster@backend#pool"
        raise errors.InvalidInput(field="cluster", value=cluster[:80], reason=reason)
    able = [row for row in members if placement.is_up(app, row) and not row.disabled]
    if not able:
        raise errors.BackendUnavailable(backend=members[0].cluster_name or cluster, reason="no host of it is up")
    return names.join_host(able[0].host, able[0].name, pool)


def _find(app: App, conn: sa.Connection, host: str) -> tuple[StorageBackend, list[PoolStats]]:
    pool = names.split_host(host)[2]
    service = backends.find(conn, host)
    found = backends.pools(conn, service.id) if service else []
    known = [each for each in found if pool in ("", each.name)]
    if service is None or (found and not known):
        reason = "no storage host has this name: host@backend#pool"
        raise errors.InvalidInput(field="host", value=host[:80], reason=reason)
    _check_up(app, service, known)
    return service, known


def _check_up(app: App, service: StorageBackend, pools: list[PoolStats]) -> None:
    disabled = service.disabled and not service.frozen  # a frozen pool may be read; `app.submit` refuses changes
    if disabled or not pools or not placement.is_up(app, service):
        state = "disabled" if disabled else "down"
        raise errors.BackendUnavailable(backend=service.full_name, reason=f"its service is {state}")
    if all(each.fault for each in pools):
        raise errors.BackendUnavailable(backend=service.full_name, reason=pools[0].fault)
