"""The tables of notifications; a part of store/tables.py, whose rules hold."""

import sqlalchemy as sa

from nbdsvc.store.tables import metadata

_NAME = sa.String(255)

# What is to be delivered by `host`, in this order. SQLite gives no number twice, so that the oldest are those below a number.
notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("host", _NAME, nullable=False),
    sa.Column("message", sa.JSON, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Index("notifications_by_host", "host", "sequence"),
    sqlite_autoincrement=True,
)

# How many were removed undelivered, until that is reported.
losses = sa.Table(
    "notification_losses",
    metadata,
    sa.Column("host", _NAME, primary_key=True),
    sa.Column("lost", sa.BigInteger, nullable=False),
    sa.Column("oldest", sa.DateTime, nullable=False),
    sa.Column("newest", sa.DateTime, nullable=False),
)

# The end of the last period of which a host has reported the usage.
audits = sa.Table(
    "notification_audits",
    metadata,
    sa.Column("host", _NAME, primary_key=True),
    sa.Column("until", sa.DateTime, nullable=False),
)
