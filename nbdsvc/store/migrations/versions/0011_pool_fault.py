"""Why a pool cannot be used while others of its backend can."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("pools", sa.Column("fault", sa.Text, nullable=False, server_default=""))
