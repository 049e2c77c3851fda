"""The transport of an attachment as a column: of its connection_info, which named it until now."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("attachments", sa.Column("protocol", sa.String(length=32)))
    attachments = sa.table(
        "attachments", sa.column("id"), sa.column("protocol"), sa.column("connection_info", sa.JSON(none_as_null=True))
    )
    conn = op.get_bind()
    for id, info in conn.execute(sa.select(attachments.c.id, attachments.c.connection_info)).all():
        if info:
            protocol = info["driver_volume_type"]
            conn.execute(attachments.update().where(attachments.c.id == id).values(protocol=protocol))
