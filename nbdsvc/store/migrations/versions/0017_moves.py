"""Second places of volumes that are migrated."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "moves",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("operation_id", sa.String(length=36), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("backend", sa.String(length=255), nullable=False),
        sa.Column("pool", sa.String(length=255), nullable=False),
        sa.Column("volume_type_id", sa.String(length=36)),
        sa.Column("switched", sa.Boolean, nullable=False),
        sa.Column("provider_id", sa.String(length=255)),
        sa.Column("provider_location", sa.String(length=255)),
        sa.Column("driver_data", sa.JSON(none_as_null=True)),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime),
    )
