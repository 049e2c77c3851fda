"""The table of backups; a part of store/tables.py, whose rules hold."""

import sqlalchemy as sa

from nbdsvc.store.tables import metadata, stamps

_ID = sa.String(36)
_NAME = sa.String(255)

# A volume may be deleted before its backups: no foreign key.
backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("volume_id", _ID, nullable=False, index=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("space", sa.String(64), nullable=False),
    sa.Column("snapshot_id", _ID),
    sa.Column("parent_id", _ID, index=True),
    sa.Column("name", _NAME),
    sa.Column("description", sa.Text),
    sa.Column("container", _NAME),
    sa.Column("availability_zone", _NAME),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("backend", _NAME, nullable=False),
    sa.Column("store_id", sa.String(64)),
    sa.Column("key_mark", sa.String(32), nullable=False),
    sa.Column("object_count", sa.Integer, nullable=False),
    sa.Column("stored", sa.BigInteger, nullable=False),
    sa.Column("fail_reason", sa.Text),
    sa.Column("data_timestamp", sa.DateTime),
    sa.Column("metadata", sa.JSON, nullable=False),
    *stamps(),
    sa.Index("backups_by_project", "project_id", "created_at", "id"),
)
