"""How volumes of a type are to be encrypted, and quota classes."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("volume_types", sa.Column("encryption", sa.JSON(none_as_null=True)))
    op.create_table(
        "quota_classes",
        sa.Column("name", sa.String(length=255), primary_key=True),
        sa.Column("resource", sa.String(length=255), primary_key=True),
        sa.Column("limit", sa.Integer, nullable=False),
    )
