"""The rows of a table as frozen data classes of model/, by Repository.

A status changes by compare-and-swap: one UPDATE whose WHERE names the statuses that it may come from. `transition` raises
where the row is in none of them, `transition_if` says so; `update` takes no status. `force_status` is for os-reset_status.

Statements of one row are built once: to build one takes SQLAlchemy 80 us, to run it again 15 us.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock
from nbdsvc.model.listing import Page


class _Row(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=_Row)


class Repository(Generic[R]):
    """The rows of one table as objects of one class. noun: the resource in messages.

    moves: (status, next status) of every transition that model/states.py allows; any other is refused as our own fault.
    """

    def __init__(
        self, table: sa.Table, kind: type[R], noun: str, moves: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self.table = table
        self.kind = kind
        self.noun = noun
        self._moves = moves
        self._names = [f.name for f in fields(kind)]
        self._complete: Callable[[R], None] | None = getattr(kind, "__post_init__", None)
        self._columns = [table.c[name] for name in self._names]
        self._all = sa.select(*self._columns).order_by(*self._oldest_first())
        by_id = table.c.id == sa.bindparam("_id")
        self._one = self._all.where(by_id)
        self._update = table.update().where(by_id)
        self._delete = table.delete().where(by_id)
        self._lock = sa.select(table.c.id).where(by_id).with_for_update()
        self._share = sa.select(table.c.id).where(by_id).with_for_update(read=True)
        if "project_id" in table.c:
            self._one_of_project = self._one.where(table.c.project_id == sa.bindparam("_project_id"))
        if "status" in table.c:
            self._move = self._update.where(table.c.status.in_(sa.bindparam("_sources", expanding=True)))

    def insert(self, conn: sa.Connection, row: R) -> R:
        conn.execute(self.table.insert(), {name: getattr(row, name) for name in self._names})
        return row

    def get(self, conn: sa.Connection, id: str, project_id: str | None = None) -> R:
        """The row, or NotFound; with `project_id`, rows of other projects are not found either."""
        found = self.find(conn, id, project_id)
        if found is None:
            raise errors.NotFound(resource=self.noun, id=id)
        return found

    def get_for_update(self, conn: sa.Connection, id: str, project_id: str | None = None) -> R:
        """As `get`, and no other transaction changes the row until this one ends. For checks before a change.

        No row of another project is locked; one that goes to another project meanwhile is not found.
        """
        if project_id is not None:
            self.get(conn, id, project_id)
        conn.execute(self._lock, {"_id": id})
        return self.get(conn, id, project_id)

    def get_for_share(self, conn: sa.Connection, id: str, project_id: str | None = None) -> R:
        """As `get_for_update`, but others may share it: for what is to stay as it is, and is not changed here."""
        if project_id is not None:
            self.get(conn, id, project_id)
        conn.execute(self._share, {"_id": id})
        return self.get(conn, id, project_id)

    def hold(
        self, conn: sa.Connection, ids: Iterable[str], project_id: str | None = None, *, share: bool = False
    ) -> list[R]:
        """`get_for_update` of each, or `get_for_share`: the rows as given, which stay as they are until the transaction ends.

        Whoever changes or holds several rows of a table does it after this. They are locked in the order of their ids, so
        that of two transactions that need the same rows one waits for the other, and never each for the other.
        """
        get, given = self.get_for_share if share else self.get_for_update, list(ids)
        found = {id: get(conn, id, project_id) for id in sorted(set(given))}
        return [found[id] for id in given]

    def hold_left(self, conn: sa.Connection, ids: Iterable[str]) -> None:
        """`hold`, of those that are there still: for the end of an operation."""
        for id in sorted(set(ids)):
            conn.execute(self._lock, {"_id": id})

    def find(self, conn: sa.Connection, id: str, project_id: str | None = None) -> R | None:
        if project_id is None:
            row = conn.execute(self._one, {"_id": id}).one_or_none()
        else:
            row = conn.execute(self._one_of_project, {"_id": id, "_project_id": project_id}).one_or_none()
        return self._object(row) if row else None

    def select(self, conn: sa.Connection, *where: Any, page: Page | None = None) -> list[R]:
        """All rows that match, oldest first, or one page of them in the page's order."""
        query = self._paged(conn, sa.select(*self._columns).where(*where), page) if page else self.query(*where)
        return self.run(conn, query)

    def query(self, *where: Any) -> "sa.Select[Any]":
        """The statement of `select`, for those who `run` it often: with bound parameters in its conditions."""
        return self._all.where(*where) if where else self._all

    def run(self, conn: sa.Connection, query: "sa.Select[Any]", **parameters: Any) -> list[R]:
        """The rows that a statement of `query` finds with these parameters."""
        return [self._object(row) for row in conn.execute(query, parameters).all()]

    def _object(self, row: Iterable[Any]) -> R:
        """As kind(*row), whose __init__ sets one frozen field after the other: that was a twentieth of a long list's time."""
        made = object.__new__(self.kind)
        made.__dict__.update(zip(self._names, row, strict=True))
        if self._complete:
            self._complete(made)
        return made

    def count(self, conn: sa.Connection, *where: Any) -> int:
        return conn.execute(sa.select(sa.func.count()).select_from(self.table).where(*where)).scalar_one()

    def update(self, conn: sa.Connection, id: str, **changes: Any) -> bool:
        """Change columns that are no status; False when there is no such row."""
        if "status" in changes:
            raise errors.InternalError(reason=f"the status of a {self.noun.lower()} changes by a transition only")
        return self._change(conn, self._update, id, changes)

    def transition(
        self,
        conn: sa.Connection,
        id: str,
        sources: Iterable[str],
        target: str,
        *where: Any,
        action: str,
        **changes: Any,
    ) -> R:
        """Compare-and-swap: status becomes `target` if it is one of `sources` now and `where` holds, else InvalidState."""
        allowed = sorted(sources)
        moved = self.transition_if(conn, id, allowed, target, *where, **changes)
        row = self.get(conn, id)
        if not moved:
            status = getattr(row, "status", "")
            raise errors.InvalidState(resource=self.noun, id=id, action=action, status=status, allowed=allowed)
        return row

    def transition_if(
        self, conn: sa.Connection, id: str, sources: Iterable[str], target: str, *where: Any, **changes: Any
    ) -> bool:
        """Compare-and-swap for the end of an operation: False, and nothing is changed, where the row is elsewhere."""
        allowed = sorted(sources)
        if unknown := [source for source in allowed if source != target and (source, target) not in self._moves]:
            reason = f"no transition of model/states.py takes a {self.noun.lower()} from {unknown[0]} to {target}"
            raise errors.InternalError(reason=reason)
        move = self._move.where(*where) if where else self._move
        return self._change(conn, move, id, {"status": target, **changes}, _sources=allowed)

    def force_status(self, conn: sa.Connection, id: str, status: str, **changes: Any) -> bool:
        """An administrator's os-reset_status: whatever the status is. The caller has seen that no operation owns it."""
        return self._change(conn, self._update, id, {"status": status, **changes})

    def _change(self, conn: sa.Connection, update: sa.Update, id: str, changes: dict[str, Any], **where: Any) -> bool:
        # Parameters that are named as columns are the columns to be set.
        values = {"updated_at": clock.now(), **changes, "_id": id, **where}
        return conn.execute(update, values).rowcount == 1

    def delete(self, conn: sa.Connection, id: str) -> bool:
        return conn.execute(self._delete, {"_id": id}).rowcount == 1

    def _oldest_first(self) -> list[Any]:
        return [self.table.c[name] for name in ("created_at", "id") if name in self.table.c]

    def _paged(self, conn: sa.Connection, query: "sa.Select[Any]", page: Page) -> "sa.Select[Any]":
        if page.marker is not None:
            query = query.where(self._after(conn, page))
        query = query.order_by(*(self._ordered(name, down) for name, down in page.sort))
        return query.limit(page.limit).offset(page.offset or None)

    def _ordered(self, name: str, down: bool) -> Any:
        # NULLs sort differently on the two databases; this makes "unset" the smallest on both.
        column = self.table.c[name]
        return column.desc().nulls_last() if down else column.asc().nulls_first()

    def _after(self, conn: sa.Connection, page: Page) -> Any:
        """The rows that sort behind the marker: equal in the first k keys and beyond it in the next."""
        where = [self.table.c.id == page.marker]
        if page.marker_project is not None:
            where.append(self.table.c.project_id == page.marker_project)
        row = conn.execute(sa.select(self.table).where(*where)).mappings().one_or_none()
        if row is None:
            raise errors.NotFound(resource=self.noun, id=page.marker)
        return sa.or_(
            *(
                sa.and_(
                    *(self.table.c[same].is_not_distinct_from(row[same]) for same, _ in page.sort[:index]),
                    _beyond(self.table.c[name], row, name, down),
                )
                for index, (name, down) in enumerate(page.sort)
            )
        )


def _beyond(column: Any, row: sa.RowMapping, name: str, down: bool) -> Any:
    value = row[name]
    if down:  # in descending order smaller values follow, and unset ones come last
        return sa.false() if value is None else sa.or_(column < value, column.is_(None))
    return column.is_not(None) if value is None else column > value
