"""The host, backend and pool of a volume as columns, instead of the string host@backend#pool."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for name in ("backend", "pool"):
        op.add_column("volumes", sa.Column(name, sa.String(length=255), nullable=False, server_default=""))
    volumes = sa.table("volumes", *(sa.column(name) for name in ("host", "backend", "pool")))
    conn = op.get_bind()
    for full_host in conn.execute(sa.select(volumes.c.host).distinct()).scalars().all():
        rest, _, pool = full_host.partition("#")
        host, _, backend = rest.partition("@")
        parts = {"host": host, "backend": backend, "pool": pool}
        conn.execute(volumes.update().where(volumes.c.host == full_host, volumes.c.backend == "").values(parts))
