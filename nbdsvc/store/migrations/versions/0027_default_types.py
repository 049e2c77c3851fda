"""The volume type of a project whose requests name none."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.create_table(
        "default_types",
        sa.Column("project_id", sa.String(length=255), primary_key=True),
        sa.Column("volume_type_id", sa.String(length=36), nullable=False, index=True),
    )
