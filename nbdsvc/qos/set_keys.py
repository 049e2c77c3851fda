"""Set and unset keys of QoS specs. Connections that there are keep what they got; later ones get the new values."""

from collections.abc import Collection

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import qos
from nbdsvc.store import repositories


def set_keys(app: App, id: str, specs: dict[str, str], consumer: str | None = None) -> None:
    """Set these keys, and the consumer where one is given; the others stay. Raises NotFound, InvalidInput (`qos.check`)."""
    with app.change() as conn:
        app.database.lock_name(conn, f"qos-{id}")
        found = repositories.qos_specs.get(conn, id)
        _write(conn, id, consumer or found.consumer, {**found.specs, **specs})


def unset_keys(app: App, id: str, keys: Collection[str]) -> None:
    """Remove these keys. Raises NotFound for the specs, or a key that they do not have."""
    with app.change() as conn:
        app.database.lock_name(conn, f"qos-{id}")
        found = repositories.qos_specs.get(conn, id)
        if missing := [key for key in keys if key not in found.specs]:
            raise errors.NotFound(resource="QoS key", id=missing[0])
        _write(conn, id, found.consumer, {key: value for key, value in found.specs.items() if key not in keys})


def _write(conn: sa.Connection, id: str, consumer: str, specs: dict[str, str]) -> None:
    qos.check(consumer, specs)
    repositories.qos_specs.update(conn, id, consumer=consumer, specs=specs)
