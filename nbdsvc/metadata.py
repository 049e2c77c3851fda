"""Key-value metadata of any resource: read, changed key by key or replaced, with a tag against lost updates."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from nbdsvc import errors
from nbdsvc.app import App, owner_scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.store import backends, repositories
from nbdsvc.store.repository import Repository

ANY = "*"


def etag(content: Mapping[str, str]) -> str:
    """A tag of this content: the same for the same pairs in any order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Metadata:
    """The pairs in one column of one kind of row."""

    rows: Repository[Any]
    column: str = "metadata"

    def read(self, app: App, context: Context, id: str) -> dict[str, str]:
        """All pairs of metadata. Raises NotFound."""
        with app.database.read() as conn:
            return dict(getattr(self.rows.get(conn, id, owner_scope(context)), self.column))

    def edit(
        self,
        app: App,
        context: Context,
        id: str,
        changes: Mapping[str, str | None],
        *,
        replace: bool = False,
        expected: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Set (or with None remove) keys; returns all pairs afterwards.

        replace: remove every other key. expected: tags, one of which the pairs must have now; None: any.
        Raises NotFound, Frozen, and PreconditionFailed where no tag matches.
        """
        with app.change() as conn:
            row = self.rows.get(conn, id, owner_scope(context))
            app.database.lock_name(conn, f"metadata-{id}")
            if changes or replace:
                volume = row if isinstance(row, Volume) else repositories.volumes.get(conn, row.volume_id)
                backends.check_not_frozen(conn, volume.full_host)
            before = dict(getattr(self.rows.get_for_update(conn, id, owner_scope(context)), self.column))
            if expected is not None and not {etag(before), ANY} & set(expected):
                raise errors.PreconditionFailed(resource=self.rows.noun, id=id)
            merged = {**({} if replace else before), **changes}
            after = {key: value for key, value in merged.items() if value is not None}
            self.rows.update(conn, id, **{self.column: after})
        return after


VOLUME = Metadata(repositories.volumes)
VOLUME_IMAGE = Metadata(repositories.volumes, "image_metadata")
SNAPSHOT = Metadata(repositories.snapshots)
