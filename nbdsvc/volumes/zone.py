"""The availability zone of a new volume: that of its source, or the one that its request and its type allow."""

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.zones import choose_zone
from nbdsvc.model.entities import VolumeType
from nbdsvc.volumes.source import VolumeSource


def zone_of_new(
    app: App, conn: sa.Connection, named: str | None, source: VolumeSource | None, volume_type: VolumeType
) -> str:
    """The zone of the source, because the bytes are there; else the one that the request names.

    Raises InvalidInput for another zone than the source's, one without a host, and one that the type does not allow.
    """
    if source is None:
        return choose_zone(app, conn, named, volume_type)
    if named not in (None, source.zone):
        reason = f"its source is in zone {source.zone}"
        raise errors.InvalidInput(field="availability_zone", value=named, reason=reason)
    volume_type.check_zone(source.zone)
    return source.zone
