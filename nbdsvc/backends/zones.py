"""Availability zones: the ones that storage hosts are in."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.store import repositories


def list_zones(app: App) -> dict[str, bool]:
    """Each zone by name, and whether a host in it takes new volumes. Raises BackendUnavailable without the database."""
    with app.database.read() as conn:
        return _zones(conn)


def choose_zone(app: App, conn: sa.Connection, named: str | None) -> str:
    """The zone of a new volume: the one that its request names, else the default.

    Raises InvalidInput for a zone without a host, unless the administrator allows the default in its place.
    """
    default = app.settings.default_availability_zone or app.settings.availability_zone
    if named is None or named == default or named in _zones(conn):
        return named or default
    if app.settings.allow_availability_zone_fallback:
        return default
    reason = f"Availability zone '{named}' is invalid."
    raise errors.InvalidInput(field="availability_zone", value=named, reason=reason)


def _zones(conn: sa.Connection) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for row in repositories.backends.select(conn):
        found[row.availability_zone] = found.get(row.availability_zone, False) or not (row.disabled or row.frozen)
    return found
