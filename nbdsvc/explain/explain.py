"""Explain a volume, a snapshot, a backend or everything: what differs, since when, and what would mend it; and mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.app import App, Waiting
from nbdsvc.backends import placement
from nbdsvc.explain.diff import OF_ROWS, diff
from nbdsvc.explain.host_operation import EXPLAIN_HOST, ExplainHostArgs
from nbdsvc.explain.observe import observe_rows
from nbdsvc.explain.row_fixes import ROW_FIXES
from nbdsvc.explain.view import place
from nbdsvc.model import names
from nbdsvc.model.context import Context
from nbdsvc.model.operation import SUCCEEDED, Operation
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories

log = structlog.get_logger(__name__)

_ORDER = {"error": 0, "warning": 1, "note": 2}
# Resources whose faults concern every volume on them.
_PLACES = ("host", "backend", "pool")

Shown = dict[str, Any]
"""Finding.to_json()."""


@dataclass(frozen=True)
class Mended:
    """The result of a repair. error: why it failed. operation: the one that continues the repair."""

    key: str
    fix: str | None = None
    error: str | None = None
    operation: str | None = None


@dataclass(frozen=True)
class _Subject:
    """A subject: an id or `host@backend`, and its host@backend. id None: everything."""

    id: str | None = None
    place: str | None = None

    def is_on(self, host: str) -> bool:
        return self.place is None or names.split_host(self.place)[0] == host

    def concerns(self, finding: Shown) -> bool:
        about = {finding["resource_id"], *finding["related"]}
        return (
            self.id is None
            or self.id in about
            or (finding["resource_type"] in _PLACES and not about.isdisjoint({self.place, self._host()}))
        )

    def _host(self) -> str:
        return names.split_host(self.place or "")[0]


def explain(app: App, context: Context, subject: str | None = None) -> Waiting[list[Shown]]:
    """Have each host look, and wait for the findings about the subject, the worst first. That a host did not answer, or not
    in time, is a finding too, and the end of its operation no error of the caller's.

    subject: id of a volume or snapshot, `host@backend`, or None for everything. An id that has no row may be that of an
    object. Raises BackendUnavailable without the database.
    """
    about, started, late = _start(app, context, subject, ())
    return Waiting(started, app.settings.attach_timeout, lambda: _findings(app, about, started, late)[0])


def mend(app: App, context: Context, subject: str | None, keys: Sequence[str]) -> Waiting[list[Mended]]:
    """Mend findings, by the keys that `explain` gave them, should they be there still; wait for what became of each.

    What an operation goes on with has not ended yet. Nothing of it takes bytes away. Errors as of `explain`.
    """
    about, started, late = _start(app, context, subject, tuple(keys))

    def mended() -> list[Mended]:
        found, done = _findings(app, about, started, late)
        there = {finding["key"]: finding for finding in found}
        return [_mended(app, context, key, there.get(key), done) for key in dict.fromkeys(keys)]

    return Waiting(started, app.settings.attach_timeout, mended)


def _start(
    app: App, context: Context, subject: str | None, keys: tuple[str, ...]
) -> tuple[_Subject, tuple[str, ...], frozenset[str]]:
    """Submit the operation of each host that reports and that the subject is on."""
    with app.change() as conn:
        about = _subject(conn, subject)
        backends = repositories.backends.select(conn)
        late = {row.full_name for row in backends if placement.is_late(app, row)}
        alive = {row.host: row.full_name for row in backends if row.full_name not in late and about.is_on(row.host)}
        args = ExplainHostArgs(tuple(sorted(late)), keys)
        started = [
            app.submit(
                conn, context, EXPLAIN_HOST, args, backend=name, resource=("host", names.host_id(host)), bounded=False
            ).id
            for host, name in alive.items()
        ]
    return about, tuple(started), frozenset(late)


def _subject(conn: sa.Connection, subject: str | None) -> _Subject:
    if subject is None:
        return _Subject()
    if "@" in subject:
        host, backend, _pool = names.split_host(subject)
        return _Subject(names.join_host(host, backend), names.join_host(host, backend))
    snapshot = repositories.snapshots.find(conn, subject)
    volume = repositories.volumes.find(conn, snapshot.volume_id if snapshot else subject)
    return _Subject(subject, place(volume) if volume else None)


def _findings(
    app: App, about: _Subject, started: Iterable[str], late: frozenset[str]
) -> tuple[list[Shown], dict[str, bool]]:
    """Those of the hosts and those of rows; and the keys that hosts have mended."""
    with app.database.read() as conn:
        answers = [journal.rows.get(conn, id) for id in started]
    looks = [answer.results["look"] for answer in answers if answer.state == SUCCEEDED]
    unanswered = {each.host: _reason(each) for each in answers if each.state != SUCCEEDED}
    by_rows = diff(observe_rows(app.database, dict(app.settings.quotas), late, unanswered), OF_ROWS)
    found = [each for look in looks for each in look["findings"]] + [each.to_json() for each in by_rows]
    shown = sorted(filter(about.concerns, found), key=lambda each: (_ORDER[each["severity"]], each["key"]))
    return shown, {key: True for look in looks for key in look["mended"]}


def _reason(answer: Operation) -> str:
    """The reason why a host did not answer; it may run an older version without the operation."""
    return str((answer.error or {}).get("message") or "it has not answered in time")


def _mended(app: App, context: Context, key: str, finding: Shown | None, done: dict[str, bool]) -> Mended:
    if finding is None:
        return Mended(key, error="it is not found any more")
    if key in done:
        return Mended(key, finding["fix"])
    fix = ROW_FIXES.get(finding["kind"])
    if fix is None:
        return Mended(key, error="nothing mends it but a person: " + finding["remedy"])
    log.warning("mending", finding=key, reason=finding["message"], request=context.request_id)
    try:
        with app.change() as conn:
            return Mended(key, finding["fix"], operation=fix(app, conn, context, finding["resource_id"]))
    except errors.Error as error:
        return Mended(key, finding["fix"], error=str(error))
