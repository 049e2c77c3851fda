"""The audit of usage: `volume.exists` for each volume of a host, once a period."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from nbdsvc.model import clock, names
from nbdsvc.notifications import payloads
from nbdsvc.notifications.messages import message
from nbdsvc.store import outbox, repositories, tables
from nbdsvc.store.database import Database

# Seconds between two looks whether a period is over, and volumes of one transaction.
LOOK_SECONDS, _PAGE = 5.0, 100
_FIRST = datetime(1970, 1, 1)


class Audit:
    """hours: of a period; periods begin at midnight (UTC) of 1 January 1970. most: rows of the outbox."""

    def __init__(self, database: Database, host: str, hours: float, most: int) -> None:
        self._database, self._host, self._most = database, host, most
        self._period = timedelta(hours=hours)
        # Where a report of several pages goes on, and the end of its period.
        self._after = ""
        self._end: datetime | None = None

    def look(self) -> None:
        """Report the usage of a period that is over, in pages, each when half of the outbox is free."""
        now = clock.now()
        end = self._end or now - (now - _FIRST) % self._period
        with self._database.read() as conn:
            begin = outbox.audited_until(conn, self._host)
        if begin is None:  # the usage before this is not known
            with self._database.write() as conn:
                outbox.note_audit(conn, self._host, end)
            return
        while begin < end and self._report(begin, end):
            pass

    def _report(self, begin: datetime, end: datetime) -> bool:
        """The next page. False where the outbox has to be delivered first, and after the last page."""
        c = tables.volumes.c
        page = repositories.volumes.query(c.host == self._host, c.id > self._after, c.created_at < end)
        with self._database.write() as conn:
            if outbox.count(conn) > self._most // 2:
                return False
            rows = repositories.volumes.run(conn, page.order_by(None).order_by(c.id).limit(_PAGE))
            for row in rows:
                self._add(conn, row.id, names.join_host(row.host, row.backend), begin, end)
            is_last = len(rows) < _PAGE
            if is_last:
                outbox.note_audit(conn, self._host, end)
        self._after, self._end = ("", None) if is_last else (rows[-1].id, end)
        return not is_last

    def _add(self, conn: sa.Connection, id: str, publisher: str, begin: datetime, end: datetime) -> None:
        period = {"audit_period_beginning": _zoned(begin), "audit_period_ending": _zoned(end)}
        payload = {**(payloads.read(conn, "volume", id) or {}), **period}
        outbox.add(conn, self._host, message("volume.exists", payload, publisher, id, _zoned(end)), self._most)


def _zoned(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat()
