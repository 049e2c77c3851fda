"""Set and unset keys of QoS specs. What a connection_info says stays as it is until the next connection; exports that are
there keep their clients to the new values.
"""

from collections.abc import Collection

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import qos
from nbdsvc.model.context import Context
from nbdsvc.qos.keep import check_transports, submit_limits
from nbdsvc.store import qos_specs, repositories


def set_keys(app: App, context: Context, id: str, specs: dict[str, str], consumer: str | None = None) -> None:
    """Set these keys, and the consumer where one is given; the others stay. Raises NotFound, InvalidInput (`qos.check`, and
    where a volume with these specs is attached by a transport that cannot keep clients to them).
    """
    with app.change() as conn:
        app.database.lock_name(conn, f"qos-{id}")
        found = repositories.qos_specs.get(conn, id)
        _write(app, conn, context, id, consumer or found.consumer, {**found.specs, **specs})


def unset_keys(app: App, context: Context, id: str, keys: Collection[str]) -> None:
    """Remove these keys. Raises NotFound for the specs, or a key that they do not have; InvalidInput as set_keys."""
    with app.change() as conn:
        app.database.lock_name(conn, f"qos-{id}")
        found = repositories.qos_specs.get(conn, id)
        if missing := [key for key in keys if key not in found.specs]:
            raise errors.NotFound(resource="QoS key", id=missing[0])
        left = {key: value for key, value in found.specs.items() if key not in keys}
        _write(app, conn, context, id, found.consumer, left)


def _write(app: App, conn: sa.Connection, context: Context, id: str, consumer: str, specs: dict[str, str]) -> None:
    qos.check(consumer, specs)
    types = [found.id for found in qos_specs.types_of(conn, id)]
    check_transports(app, conn, types, consumer, specs, "qos_specs")
    repositories.qos_specs.update(conn, id, consumer=consumer, specs=specs)
    submit_limits(app, conn, context, types)
