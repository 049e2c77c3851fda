"""Availability zones: the ones that storage hosts are in."""

from collections.abc import Iterable

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.entities import VolumeType
from nbdsvc.store import repositories


def list_zones(app: App) -> dict[str, bool]:
    """Each zone by name, and whether a host in it takes new volumes. Raises BackendUnavailable without the database."""
    with app.database.read() as conn:
        return _zones(conn)


def choose_zone(app: App, conn: sa.Connection, named: str | None, *types: VolumeType) -> str:
    """The zone of a new volume, or group: the one that its request names, else the default, else the first one of its types.

    Raises InvalidInput for a zone that a type does not allow, and for one without a host, unless the administrator allows
    the default in its place.
    """
    default = app.settings.default_availability_zone or app.settings.availability_zone
    if named is None and not _allowed(default, types):
        named = next((zone for zone, takes in _zones(conn).items() if takes and _allowed(zone, types)), None)
    zone = _existing(app, conn, named, default)
    for each in types:
        each.check_zone(zone)
    return zone


def _allowed(zone: str, types: Iterable[VolumeType]) -> bool:
    return all(not each.zones or zone in each.zones for each in types)


def _existing(app: App, conn: sa.Connection, named: str | None, default: str) -> str:
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
