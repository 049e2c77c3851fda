"""The tables of hosts and clusters; a part of store/tables.py, whose rules hold."""

import sqlalchemy as sa

from nbdsvc.store.tables import metadata, second_place, stamps

_ID = sa.String(36)
_NAME = sa.String(255)

# Which machine serves a host, see store/hosts.py. identity: of its state folder; empty: that of the next one to start.
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("name", _NAME, primary_key=True),
    sa.Column("identity", _ID, nullable=False),
    sa.Column("lost_at", sa.DateTime),
)

# Which process serves a host, see store/claims.py. machine, pid, started: of the process; note: for people.
host_claims = sa.Table(
    "host_claims",
    metadata,
    sa.Column("host", _NAME, primary_key=True),
    sa.Column("instance", _ID, nullable=False),
    sa.Column("machine", _NAME, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.String(32), nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# Second places on hosts that were declared lost (store/lost_places.py): a row as of `moves`, but several of one volume.
lost_places = sa.Table(
    "lost_places",
    metadata,
    *second_place("id", "host", "backend", "pool"),
)

# Backends of several hosts that are one storage: name is cluster@backend. driver, storage: what each of them must have.
clusters = sa.Table(
    "clusters",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", _NAME, nullable=False, unique=True),
    sa.Column("binary", _NAME, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.Text),
    sa.Column("driver", _NAME, nullable=False),
    sa.Column("storage", sa.JSON, nullable=False),
    *stamps(),
)

# Which host has taken over the volumes of a lost host's backend, until that host returns.
take_overs = sa.Table(
    "take_overs",
    metadata,
    sa.Column("host", _NAME, primary_key=True),
    sa.Column("backend", _NAME, primary_key=True),
    sa.Column("by", _NAME, nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)

# Cached images of the hosts' pools, see store/image_cache.py. id: of the volume that has the image's bytes.
image_cache = sa.Table(
    "image_cache",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("image", sa.Text, nullable=False),
    sa.Column("last_used", sa.DateTime, nullable=False),
    sa.Column("uses", sa.Integer, nullable=False),
)
