"""Cached images: volumes of no project, of which volumes of the same image are cloned."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.create_table(
        "image_cache",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("key", sa.String(length=64), nullable=False, index=True),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("last_used", sa.DateTime, nullable=False),
        sa.Column("uses", sa.Integer, nullable=False),
    )
