"""The pool that a client names."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.driver import PoolStats
from nbdsvc.model import names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import backends


def find_pool(app: App, conn: sa.Connection, host: str) -> str:
    """`host@backend#pool` for what a client wrote: host, host@backend or all of it.

    Raises InvalidInput where there is no such pool, BackendUnavailable where its service is disabled or down.
    """
    name, _backend, pool = names.split_host(host)
    service = backends.find(conn, host)
    found = backends.pools(conn, service.id) if service else []
    known = [each for each in found if pool in ("", each.name)]
    if service is None or (found and not known):
        reason = "no storage host has this name: host@backend#pool"
        raise errors.InvalidInput(field="host", value=host[:80], reason=reason)
    _check_up(app, service, known)
    return names.join_host(name, service.name, known[0].name)


def _check_up(app: App, service: StorageBackend, pools: list[PoolStats]) -> None:
    if service.disabled or not pools or not placement.is_up(app, service):
        state = "disabled" if service.disabled else "down"
        raise errors.BackendUnavailable(backend=service.full_name, reason=f"its service is {state}")
