"""What drivers keep of their volumes and snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for table in ("volumes", "snapshots"):
        op.add_column(table, sa.Column("provider_id", sa.String(length=255)))
        op.add_column(table, sa.Column("provider_location", sa.String(length=255)))
        op.add_column(table, sa.Column("driver_data", sa.JSON(none_as_null=True)))
