"""The locks of unfinished operations as rows. Until now they were held in the memory of the host's process."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "operation_locks",
        sa.Column("operation_id", sa.String(length=36), primary_key=True),
        sa.Column("name", sa.String(length=255), primary_key=True),
        sa.Column("shared", sa.Boolean, nullable=False),
    )
    op.create_index("operation_locks_by_name", "operation_locks", ["name"])
    locks = sa.table("operation_locks", sa.column("operation_id"), sa.column("name"), sa.column("shared"))
    operations = sa.table("operations", sa.column("id"), sa.column("state"), sa.column("locks", sa.JSON))
    unfinished = operations.c.state.in_(["pending", "running", "undoing"])
    conn = op.get_bind()
    for id, wanted in conn.execute(sa.select(operations.c.id, operations.c.locks).where(unfinished)).all():
        shared: dict[str, bool] = {}
        for name, is_shared in wanted:
            shared[name] = is_shared and shared.get(name, True)
        for name, is_shared in shared.items():
            conn.execute(locks.insert().values(operation_id=id, name=name, shared=is_shared))
