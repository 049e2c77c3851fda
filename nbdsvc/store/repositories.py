"""The repositories of the resources, and the few queries that need more than one condition."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import states
from nbdsvc.model.entities import (
    Attachment,
    Backup,
    Cluster,
    Move,
    QosSpecs,
    Snapshot,
    StorageBackend,
    Transfer,
    Volume,
    VolumeType,
)
from nbdsvc.store import backup_tables, host_tables, tables
from nbdsvc.store.database import Database
from nbdsvc.store.repository import Repository

volumes: Repository[Volume] = Repository(tables.volumes, Volume, "Volume", states.moves(states.VOLUME))
snapshots: Repository[Snapshot] = Repository(tables.snapshots, Snapshot, "Snapshot", states.moves(states.SNAPSHOT))
backups: Repository[Backup] = Repository(backup_tables.backups, Backup, "Backup", states.moves(states.BACKUP))
attachments: Repository[Attachment] = Repository(
    tables.attachments, Attachment, "VolumeAttachment", states.moves(states.ATTACHMENT)
)
volume_types: Repository[VolumeType] = Repository(tables.volume_types, VolumeType, "VolumeType")
qos_specs: Repository[QosSpecs] = Repository(tables.qos_specs, QosSpecs, "QoS specs")
transfers: Repository[Transfer] = Repository(tables.transfers, Transfer, "Transfer")
moves: Repository[Move] = Repository(tables.moves, Move, "Move")
backends: Repository[StorageBackend] = Repository(tables.backends, StorageBackend, "Service")
clusters: Repository[Cluster] = Repository(host_tables.clusters, Cluster, "Cluster")


_of_volume = snapshots.query(tables.snapshots.c.volume_id == sa.bindparam("volume"))
_of_volumes = attachments.query(tables.attachments.c.volume_id.in_(sa.bindparam("volumes", expanding=True)))
_type = volume_types.query(
    sa.or_(tables.volume_types.c.id == sa.bindparam("type"), tables.volume_types.c.name == sa.bindparam("type"))
)


def pools_of(conn: sa.Connection, host: str, backend: str) -> dict[str, str]:
    """The pool of each volume of a backend, by the volume's id."""
    column = tables.volumes.c
    query = sa.select(column.id, column.pool).where(column.host == host, column.backend == backend)
    return {str(row.id): row.pool for row in conn.execute(query)}


def full_host() -> "sa.ColumnElement[str]":
    """host@backend#pool of a volume's row, in SQL."""
    column = tables.volumes.c
    return column.host.concat("@").concat(column.backend).concat("#").concat(column.pool)


def snapshots_of(conn: sa.Connection, volume_id: str) -> list[Snapshot]:
    return snapshots.run(conn, _of_volume, volume=volume_id)


def attachments_of(conn: sa.Connection, *volume_ids: str) -> list[Attachment]:
    return attachments.run(conn, _of_volumes, volumes=volume_ids)


def hold_attached(conn: sa.Connection, volume_id: str, attachment_ids: Iterable[str] = ()) -> None:
    """Hold these attachments and then their volume, as far as they are there still, until the transaction ends.

    A transaction that changes an operation of the volume, and the volume, does this first: a request changes the volume
    before it cancels the operation, and in the other order each could wait for the other.
    """
    attachments.hold_left(conn, attachment_ids)
    volumes.hold_left(conn, [volume_id])


def volume_type(conn: sa.Connection, id_or_name: str) -> VolumeType:
    """A type by id or by name, as clients may give either."""
    found = volume_types.run(conn, _type, type=id_or_name)
    if not found:
        raise errors.NotFound(resource="VolumeType", id=id_or_name)
    return found[0]


def metadata_is(database: Database, column: "sa.Column[Any]", wanted: dict[str, str]) -> list[Any]:
    """Conditions: the JSON object in `column` has all these pairs.

    By its rows, because a JSON path of SQLite has no way to write a key with a quotation mark.
    """
    each = sa.func.json_each if database.is_sqlite else sa.func.json_each_text
    found = []
    for key, value in wanted.items():
        pair = each(column).table_valued("key", "value")
        found.append(sa.exists().select_from(pair).where(pair.c.key == key, pair.c.value == value))
    return found
