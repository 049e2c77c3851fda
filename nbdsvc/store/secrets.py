"""Secrets of operations, such as an imageRef with a password or a signature: stored until the operation ends."""

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import sqlalchemy as sa

from nbdsvc.model import operation as model
from nbdsvc.store import tables

_c = tables.operation_secrets.c
_of = sa.select(_c.reference).where(_c.operation_id == sa.bindparam("id"))
_forget = tables.operation_secrets.delete().where(_c.operation_id == sa.bindparam("id"))
_HIDDEN = "***"


def keep(conn: sa.Connection, operation_id: str, reference: str) -> None:
    conn.execute(tables.operation_secrets.insert().values(operation_id=operation_id, reference=reference))


def of(conn: sa.Connection, operation_id: str) -> str | None:
    found = conn.execute(_of, {"id": operation_id}).scalar()
    return str(found) if found is not None else None


def forget(conn: sa.Connection, operation_id: str) -> bool:
    """Delete the secrets of the operation; False where it had none."""
    return conn.execute(_forget, {"id": operation_id}).rowcount > 0


def ended(conn: sa.Connection) -> list[str]:
    """Operations that have ended, or are gone, and of which a secret is left."""
    return [str(id) for id in conn.execute(sa.select(_c.operation_id).where(_has_ended())).scalars()]


def sweep(conn: sa.Connection) -> int:
    """Forget those of operations that have ended or are gone; returns how many."""
    return conn.execute(tables.operation_secrets.delete().where(_has_ended())).rowcount


def _has_ended() -> "sa.ColumnElement[bool]":
    operations = tables.operations.c
    alive = sa.select(operations.id).where(operations.state.in_(sorted(model.UNFINISHED)))
    return _c.operation_id.not_in(alive)


def without(facts: dict[str, Any], reference: str | None) -> dict[str, Any]:
    """The facts of an error with nothing of a secret reference in them, should a library have put it into a message."""
    if reference is None:
        return facts
    text = json.dumps(facts, ensure_ascii=False)
    for part in _parts(reference):
        text = text.replace(json.dumps(part, ensure_ascii=False)[1:-1], _HIDDEN)
    return dict(json.loads(text))


def _parts(reference: str) -> list[str]:
    """The longest first. A user's name and one or two letters are no secret, and would blacken every word."""
    split = urlsplit(reference)
    password = split.password or ""
    values = [value for _, value in parse_qsl(split.query)]
    found = {reference, split.query, password, unquote(password), *values}
    return sorted((part for part in found if len(part) > 2), key=len, reverse=True)
