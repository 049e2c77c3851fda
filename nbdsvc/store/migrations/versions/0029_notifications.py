"""The outbox of notifications, how many of it were lost, and until when usage was audited."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("message", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("notifications_by_host", "notifications", ["host", "sequence"])
    op.create_table(
        "notification_losses",
        sa.Column("host", sa.String(length=255), primary_key=True),
        sa.Column("lost", sa.BigInteger, nullable=False),
        sa.Column("oldest", sa.DateTime, nullable=False),
        sa.Column("newest", sa.DateTime, nullable=False),
    )
    op.create_table(
        "notification_audits",
        sa.Column("host", sa.String(length=255), primary_key=True),
        sa.Column("until", sa.DateTime, nullable=False),
    )
