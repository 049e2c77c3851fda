"""A default volume type, which every volume without a type gets; services under the name that clients look for."""

import datetime
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NAME = "__DEFAULT__"


def upgrade() -> None:
    types = sa.table(
        "volume_types",
        *(sa.column(name) for name in ("id", "name", "description")),
        sa.column("is_public", sa.Boolean),
        sa.column("extra_specs", sa.JSON),
        sa.column("projects", sa.JSON),
        sa.column("created_at", sa.DateTime),
    )
    volumes = sa.table("volumes", sa.column("volume_type_id"))
    services = sa.table("services", sa.column("binary"))
    conn = op.get_bind()
    found = conn.execute(sa.select(types.c.id).where(types.c.name == _NAME)).scalar()
    if found is None:
        found = str(uuid.uuid4())
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        row = {"id": found, "name": _NAME, "description": "Default Volume Type", "is_public": True, "extra_specs": {}}
        conn.execute(types.insert().values(**row, projects=[], created_at=now))
    conn.execute(volumes.update().where(volumes.c.volume_type_id.is_(None)).values(volume_type_id=found))
    conn.execute(services.update().values(binary="cinder-volume"))
