"""A row for each backend of a host and for each pool, instead of one service a host with its backend in a JSON."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NAME = sa.String(length=255)
_POOL = ("name", "total", "free", "provisioned", "allocated", "volumes")


def upgrade() -> None:
    backends = op.create_table(
        "backends",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("binary", _NAME, nullable=False),
        sa.Column("availability_zone", _NAME, nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        sa.Column("working", sa.Boolean(), nullable=False),
        sa.Column("replication_status", sa.String(length=32), nullable=False),
        sa.Column("active_backend_id", _NAME),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host", "name", name="backends_by_name"),
    )
    pools = op.create_table(
        "pools",
        sa.Column("backend_id", sa.String(length=36), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
        sa.Column("provisioned", sa.BigInteger(), nullable=False),
        sa.Column("allocated", sa.BigInteger(), nullable=False),
        sa.Column("volumes", sa.Integer(), nullable=False),
        sa.Column("reserved_percentage", sa.Integer(), nullable=False),
        sa.Column("max_over_subscription_ratio", sa.Float(), nullable=False),
        sa.Column("thin", sa.Boolean(), nullable=False),
        sa.Column("metadata_percent", sa.Float()),
        sa.ForeignKeyConstraint(["backend_id"], ["backends.id"]),
        sa.PrimaryKeyConstraint("backend_id", "name"),
    )
    conn = op.get_bind()
    services = sa.Table("services", sa.MetaData(), autoload_with=conn)
    services.c.capabilities.type = sa.JSON()
    for row in conn.execute(sa.select(services)).mappings().all():
        found = dict(row)
        capabilities = dict(found.pop("capabilities") or {})
        name, reported = capabilities.pop("backend", "file"), capabilities.pop("pools", [])
        conn.execute(
            backends.insert().values(**found, name=name, capabilities=capabilities, replication_status="disabled")
        )
        for pool in reported:
            conn.execute(pools.insert().values(backend_id=found["id"], **_complete(pool)))
    op.drop_table("services")


def _complete(pool: dict[str, object]) -> dict[str, object]:
    """With what its driver left out when it reported; the next report replaces it."""
    extras = {"reserved_percentage": 0, "max_over_subscription_ratio": 20.0, "thin": True, "metadata_percent": None}
    return {**{key: pool[key] for key in _POOL}, **{key: pool.get(key, value) for key, value in extras.items()}}
