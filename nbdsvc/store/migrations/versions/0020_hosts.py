"""Hosts that have served volumes: which machine each is, and whether it was declared lost."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("identity", sa.String(36), nullable=False),
        sa.Column("lost_at", sa.DateTime),
    )
