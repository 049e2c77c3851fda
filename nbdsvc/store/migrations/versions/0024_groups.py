"""Groups of volumes, their types and snapshots; and the type of consistency groups."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_ID, _NAME = sa.String(length=36), sa.String(length=255)
# The row of model/groups.py: a migration stays as it is, whatever becomes of that.
_TYPE = {
    "id": "d1a3c5e7-0024-4c67-9a55-c0757e4c1900",
    "name": "default_cgsnapshot_type",
    "description": "The type of consistency groups",
    "is_public": True,
    "group_specs": {"consistent_group_snapshot_enabled": "<is> True"},
    "projects": [],
}


def _stamps() -> tuple["sa.Column[object]", "sa.Column[object]"]:
    return sa.Column("created_at", sa.DateTime, nullable=False), sa.Column("updated_at", sa.DateTime)


def upgrade() -> None:
    types = op.create_table(
        "group_types",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", _NAME, nullable=False, unique=True),
        sa.Column("description", sa.Text),
        sa.Column("is_public", sa.Boolean, nullable=False),
        sa.Column("group_specs", sa.JSON, nullable=False),
        sa.Column("projects", sa.JSON, nullable=False),
        *_stamps(),
    )
    op.execute(types.insert().values(**_TYPE, created_at=datetime.now(UTC).replace(tzinfo=None)))
    op.create_table(
        "volume_groups",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("host", _NAME, nullable=False),
        sa.Column("backend", _NAME, nullable=False),
        sa.Column("group_type_id", _ID, nullable=False),
        sa.Column("volume_types", sa.JSON, nullable=False),
        sa.Column("name", _NAME),
        sa.Column("description", sa.Text),
        sa.Column("availability_zone", _NAME, nullable=False),
        sa.Column("group_snapshot_id", _ID),
        sa.Column("source_group_id", _ID),
        sa.Column("replication_status", sa.String(length=32), nullable=False),
        *_stamps(),
    )
    op.create_index("ix_volume_groups_group_type_id", "volume_groups", ["group_type_id"])
    op.create_index("volume_groups_by_project", "volume_groups", ["project_id", "created_at", "id"])
    op.create_table(
        "group_snapshots",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("project_id", _NAME, nullable=False),
        sa.Column("user_id", _NAME, nullable=False),
        sa.Column("group_id", _ID, nullable=False),
        sa.Column("group_type_id", _ID, nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("name", _NAME),
        sa.Column("description", sa.Text),
        *_stamps(),
    )
    op.create_index("ix_group_snapshots_group_id", "group_snapshots", ["group_id"])
    op.create_index("group_snapshots_by_project", "group_snapshots", ["project_id", "created_at", "id"])
    for table, column in (("volumes", "group_id"), ("snapshots", "group_snapshot_id")):
        op.add_column(table, sa.Column(column, _ID))
        op.create_index(f"ix_{table}_{column}", table, [column])
