"""What drivers keep of initiators between their connections: texts by initiator, namespace and key."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from nbdsvc.store import tables
from nbdsvc.store.database import Database

_data = tables.initiator_data


def of_initiator(conn: sa.Connection, initiator: str, namespace: str) -> dict[str, str]:
    """The texts of this initiator by their keys; none for one that was never connected."""
    found = conn.execute(sa.select(_data.c.key, _data.c.value).where(*_owned(initiator, namespace)))
    return {row.key: row.value for row in found}


def change(
    database: Database,
    conn: sa.Connection,
    initiator: str,
    namespace: str,
    set_values: Mapping[str, str],
    remove_values: Iterable[str],
) -> None:
    """Keep these texts, in place of earlier ones, and forget those of `remove_values`; unknown keys are forgotten already."""
    database.lock_name(conn, f"initiator-{namespace}-{initiator}")
    gone = {*set_values, *remove_values}
    conn.execute(_data.delete().where(*_owned(initiator, namespace), _data.c.key.in_(gone)))
    where = {"initiator": initiator, "namespace": namespace}
    kept = [{**where, "key": key, "value": value} for key, value in set_values.items() if key not in remove_values]
    if kept:
        conn.execute(_data.insert(), kept)


def _owned(initiator: str, namespace: str) -> "tuple[sa.ColumnElement[bool], ...]":
    return _data.c.initiator == initiator, _data.c.namespace == namespace
