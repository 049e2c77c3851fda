"""Backups of volumes."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "backups",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("volume_id", sa.String(length=36), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("space", sa.String(length=64), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36)),
        sa.Column("parent_id", sa.String(length=36)),
        sa.Column("name", sa.String(length=255)),
        sa.Column("description", sa.Text),
        sa.Column("container", sa.String(length=255)),
        sa.Column("availability_zone", sa.String(length=255)),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("backend", sa.String(length=255), nullable=False),
        sa.Column("store_id", sa.String(length=64)),
        sa.Column("key_mark", sa.String(length=32), nullable=False),
        sa.Column("object_count", sa.Integer, nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("fail_reason", sa.Text),
        sa.Column("data_timestamp", sa.DateTime),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime),
    )
    op.create_index("ix_backups_volume_id", "backups", ["volume_id"])
    op.create_index("ix_backups_parent_id", "backups", ["parent_id"])
    op.create_index("backups_by_project", "backups", ["project_id", "created_at", "id"])
