"""How much of what rows promise a pool's report has measured."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("pools", sa.Column("measured", sa.BigInteger))
