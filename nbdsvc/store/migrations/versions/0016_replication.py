"""What drivers say of the replicas of volumes."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("volumes", sa.Column("replication_extended_status", sa.Text))
    op.add_column("volumes", sa.Column("replication_driver_data", sa.Text))
