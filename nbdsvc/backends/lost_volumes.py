"""Volumes that a failover left behind: they have no replica at the site that serves now, and are errors until it is back."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from nbdsvc.driver import replication_columns
from nbdsvc.model import states
from nbdsvc.model.entities import Volume
from nbdsvc.store import repositories, transitions


def save_update(conn: sa.Connection, volume: Volume, update: Mapping[str, Any]) -> None:
    """Write what a driver said of a volume at a failover. Said again, it changes nothing.

    `status`: error leaves the volume behind; any other brings back one that was left behind, and nothing else.
    """
    columns, status = replication_columns(update), update.get("status")
    if status == "error":
        lost = states.VOLUME["be left behind"]
        columns = {**columns, "replication_status": states.LEFT_BEHIND}
        repositories.volumes.transition_if(conn, volume.id, lost.sources, "error", **columns)
    elif status is not None and volume.replication_status == states.LEFT_BEHIND:
        columns = {"replication_status": None, **columns}
        repositories.volumes.update(conn, volume.id, **columns)
        sources, back = states.VOLUME["be found again"].sources, transitions.by_attachments(conn, volume.id)
        repositories.volumes.transition_if(conn, volume.id, sources, back)
    elif columns:
        repositories.volumes.update(conn, volume.id, **columns)
