"""Availability zones: the ones that storage hosts are in."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.manager.app import App
from nbdsvc.store import nouns


def listing(conn: sa.Connection) -> dict[str, bool]:
    """Each zone, and whether a host in it takes new volumes."""
    found: dict[str, bool] = {}
    for row in nouns.services.select(conn):
        found[row.availability_zone] = found.get(row.availability_zone, False) or not (row.disabled or row.frozen)
    return found


def choose(app: App, conn: sa.Connection, wanted: str | None) -> str:
    """The zone of a new volume: `wanted` where it exists, else the default where the administrator allows that."""
    default = app.settings.default_availability_zone or app.settings.availability_zone
    if wanted is None or wanted == default or wanted in listing(conn):
        return wanted or default
    if app.settings.allow_availability_zone_fallback:
        return default
    raise errors.InvalidInput(
        field="availability_zone", value=wanted, reason=f"Availability zone '{wanted}' is invalid."
    )
