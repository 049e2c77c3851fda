"""The tables of groups; a part of store/tables.py, whose rules hold."""

import sqlalchemy as sa

from nbdsvc.store.tables import metadata, stamps

_ID = sa.String(36)
_NAME = sa.String(255)

group_types = sa.Table(
    "group_types",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("description", sa.Text),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("group_specs", sa.JSON, nullable=False),
    sa.Column("projects", sa.JSON, nullable=False),
    *stamps(),
)

groups = sa.Table(
    "volume_groups",  # `groups` is a word of SQL
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("backend", _NAME, nullable=False),
    sa.Column("group_type_id", _ID, nullable=False, index=True),
    sa.Column("volume_types", sa.JSON, nullable=False),
    sa.Column("name", _NAME),
    sa.Column("description", sa.Text),
    sa.Column("availability_zone", _NAME, nullable=False),
    sa.Column("group_snapshot_id", _ID),
    sa.Column("source_group_id", _ID),
    sa.Column("replication_status", sa.String(32), nullable=False),
    *stamps(),
    sa.Index("volume_groups_by_project", "project_id", "created_at", "id"),
)

group_snapshots = sa.Table(
    "group_snapshots",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", _NAME, nullable=False),
    sa.Column("user_id", _NAME, nullable=False),
    sa.Column("group_id", _ID, nullable=False, index=True),
    sa.Column("group_type_id", _ID, nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("name", _NAME),
    sa.Column("description", sa.Text),
    *stamps(),
    sa.Index("group_snapshots_by_project", "project_id", "created_at", "id"),
)
