"""Sums of what is promised in each pool, which every choice of a pool needs, without a look at each volume's row."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_index("volumes_by_pool", "volumes", ["host", "backend", "pool", "size", "target_size"])
