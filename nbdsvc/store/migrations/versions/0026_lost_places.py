"""Places of moved volumes on hosts that were declared lost."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.create_table(
        "lost_places",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("operation_id", sa.String(length=36), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("host", sa.String(length=255), primary_key=True),
        sa.Column("backend", sa.String(length=255), primary_key=True),
        sa.Column("pool", sa.String(length=255), primary_key=True),
        sa.Column("volume_type_id", sa.String(length=36)),
        sa.Column("switched", sa.Boolean, nullable=False),
        sa.Column("provider_id", sa.String(length=255)),
        sa.Column("provider_location", sa.String(length=255)),
        sa.Column("driver_data", sa.JSON(none_as_null=True)),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime),
    )
