"""What the end of an operation did not change, because a row was in another status."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("operations", sa.Column("skipped", sa.JSON(none_as_null=True)))
