"""References with credentials are kept apart, and what older versions wrote into rows is taken out of them."""

import json
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_UNFINISHED = ("pending", "running", "undoing")


def upgrade() -> None:
    op.create_table(
        "operation_secrets",
        sa.Column("operation_id", sa.String(length=36), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operation_id"),
    )
    conn = op.get_bind()
    _clean_volumes(conn)
    _clean_operations(conn)


def _clean_volumes(conn: sa.Connection) -> None:
    volumes = sa.table("volumes", sa.column("id"), sa.column("image_id"))
    for id, reference in conn.execute(sa.select(volumes.c.id, volumes.c.image_id)).all():
        if _shown(reference) != reference:
            conn.execute(volumes.update().where(volumes.c.id == id).values(image_id=_shown(reference)))


def _clean_operations(conn: sa.Connection) -> None:
    secrets = sa.table("operation_secrets", sa.column("operation_id"), sa.column("reference"))
    columns = (sa.column("args", sa.JSON), sa.column("error", sa.JSON(none_as_null=True)))
    operations = sa.table("operations", sa.column("id"), sa.column("state"), *columns)
    for row in conn.execute(sa.select(operations)).all():
        reference = (row.args or {}).get("image")
        if _shown(reference) == reference:
            continue
        error = json.loads(json.dumps(row.error).replace(json.dumps(reference)[1:-1], str(_shown(reference))))
        changes = {"args": {**row.args, "image": _shown(reference)}, "error": error}
        conn.execute(operations.update().where(operations.c.id == row.id).values(**changes))
        if row.state in _UNFINISHED:
            conn.execute(secrets.insert().values(operation_id=row.id, reference=reference))


def _shown(reference: str | None) -> str | None:
    """Without user, password, query and fragment; what is no URL stays as it is."""
    if not reference or not reference.lower().startswith(("http:", "https:")):
        return reference
    try:
        split = urlsplit(reference)
    except ValueError:
        return "http:"  # a URL that nobody can read may still have a password in it
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl()
