"""Metadata of any noun: read, changed key by key or replaced, with a tag against lost updates."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from nbdsvc import errors
from nbdsvc.manager.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.store.rows import Rows

ANY = "*"


def etag(content: Mapping[str, str]) -> str:
    """A tag of this content: the same for the same pairs in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def read(app: App, context: Context, rows: Rows[Any], id: str, column: str = "metadata") -> dict[str, str]:
    with app.database.read() as conn:
        return dict(getattr(rows.get(conn, id, owner_scope(context)), column))


def edit(
    app: App,
    context: Context,
    rows: Rows[Any],
    id: str,
    changes: Mapping[str, str | None],
    *,
    column: str = "metadata",
    replace: bool = False,
    expected: Collection[str] | None = None,
) -> dict[str, str]:
    """Set (or with None remove) keys; returns what there is afterwards.

    expected: tags, one of which what is there must have, else PreconditionFailed; None asks for none.
    """
    with app.change() as conn:
        rows.get(conn, id, owner_scope(context))
        app.database.lock_name(conn, f"metadata-{id}")
        before = dict(getattr(rows.get(conn, id), column))
        if expected is not None and not {etag(before), ANY} & set(expected):
            raise errors.PreconditionFailed(resource=rows.noun, id=id)
        after = {key: value for key, value in {**({} if replace else before), **changes}.items() if value is not None}
        rows.update(conn, id, **{column: after})
    return after
