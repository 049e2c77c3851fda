"""Where an operation is now, because a step may run on another host. Until now each was on its own host."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("operations", sa.Column("step_host", sa.String(length=255), nullable=False, server_default=""))
    op.add_column("operations", sa.Column("step_backend", sa.String(length=255), nullable=False, server_default=""))
    op.add_column("operations", sa.Column("taken_up", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("UPDATE operations SET step_host = host, step_backend = backend, taken_up = (state <> 'pending')")
    op.drop_index("operations_by_host_and_state", "operations")
    op.create_index("operations_by_state_and_place", "operations", ["state", "step_host", "sequence"])
