"""The backend of an operation as a column: of its volume's host@backend#pool, which held it until now."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("operations", sa.Column("backend", sa.String(length=255), nullable=False, server_default=""))
    operations = sa.table(
        "operations", sa.column("id"), sa.column("backend"), sa.column("resource_id"), sa.column("args", sa.JSON)
    )
    volumes = sa.table("volumes", sa.column("id"), sa.column("host"))
    conn = op.get_bind()
    backends = {id: host.partition("@")[2].partition("#")[0] for id, host in conn.execute(sa.select(volumes))}
    for id, resource, args in conn.execute(
        sa.select(operations.c.id, operations.c.resource_id, operations.c.args)
    ).all():
        backend = backends.get((args or {}).get("volume_id") or resource)
        if backend:
            conn.execute(operations.update().where(operations.c.id == id).values(backend=backend))
