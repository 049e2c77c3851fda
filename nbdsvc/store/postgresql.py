"""PostgreSQL: how it is connected to, and which of its errors pass by themselves.

What the URL's query says (sslmode, sslrootcert, sslcert, sslkey, passfile, hosts, target_session_attrs ...) is libpq's.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

# What libpq waits for a machine that does not answer. Without them a request would wait for the kernel's quarter of an hour.
# Seconds for each address; milliseconds for what was sent and is not acknowledged; seconds of silence before it is probed,
# between probes, and how many of these.
_PATIENCE: dict[str, str] = {
    "connect_timeout": "5",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
# A server that was the primary and is a standby now (read_only_sql_transaction): its connections are of no more use.
_READ_ONLY = "25006"


def make_engine(url: str) -> sa.Engine:
    """An engine whose connections are looked at before each use."""
    made = _completed(url)
    return sa.create_engine(made, pool_size=8, max_overflow=32, pool_pre_ping=True)


def connection_arguments(url: str) -> dict[str, Any]:
    """The arguments of psycopg.connect for a connection beside the engine's."""
    made = _completed(url)
    return dict(made.get_dialect()().create_connect_args(made)[1])


def passes(error: exc.SQLAlchemyError) -> bool:
    """Whether the same transaction may succeed later: the server is gone, starts, has no room, or took another one first."""
    if isinstance(error, exc.TimeoutError | exc.PendingRollbackError):  # every connection is in use, or lost its server
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    lost = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
    return lost or leads_to_standby(error)


def leads_to_standby(error: exc.SQLAlchemyError) -> bool:
    """Whether the connection is to a server that only reads: after a fail-over the others are as well."""
    return isinstance(error, exc.DBAPIError) and getattr(error.orig, "sqlstate", None) == _READ_ONLY


def _completed(url: str) -> sa.URL:
    made = sa.make_url(url)
    if made.drivername == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    return made.update_query_dict({name: value for name, value in _PATIENCE.items() if name not in made.query})
