"""What drivers keep of initiators between their connections."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "initiator_data",
        *(sa.Column(name, sa.String(length=255), primary_key=True) for name in ("initiator", "namespace", "key")),
        sa.Column("value", sa.Text, nullable=False),
    )
