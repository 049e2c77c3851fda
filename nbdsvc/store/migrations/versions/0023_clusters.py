"""Clusters of hosts that see one storage, and which host has taken over what of a lost one."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("backends", sa.Column("cluster", sa.String(length=255), nullable=False, server_default=""))
    op.create_table(
        "clusters",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("name", sa.String(length=255), nullable=False, unique=True),
        sa.Column("binary", sa.String(length=255), nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("driver", sa.String(length=255), nullable=False),
        sa.Column("storage", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime),
    )
    op.create_table(
        "take_overs",
        sa.Column("host", sa.String(length=255), primary_key=True),
        sa.Column("backend", sa.String(length=255), primary_key=True),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
    )
