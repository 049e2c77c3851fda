"""Whether hosts are there, by the beats of their claims (claims.py) and this process's own clock."""

import time

import sqlalchemy as sa

from nbdsvc.store import host_tables
from nbdsvc.store.database import Database

_c = host_tables.host_claims.c
# A host counts as gone after so many times the silence after which another process may take its name: a restart takes less.
GONE_CLAIMS = 3
# A look that comes so much later than the one before, and later than half of what makes a host gone, is as the first one.
# An engine looks once a second.
_LATE_SECONDS = 5.0
_beat = sa.select(_c.instance, _c.beat, _c.seconds).where(_c.host == sa.bindparam("host"))


class Presence:
    """Hosts as this process sees them. seconds: without any claim after which a host counts as gone.

    A claim says by itself how often its holder beats, which may be set to beat less often than this process.
    """

    def __init__(self, database: Database, seconds: float, late_seconds: float = _LATE_SECONDS) -> None:
        self._database = database
        self._seconds, self._late_seconds = seconds, late_seconds
        self._seen: dict[str, tuple[object, float]] = {}
        self._looked: dict[str, float] = {}

    def is_gone(self, host: str) -> bool:
        """Never at the first look, which only notes the beat: call it again and again while the host is waited for. Nor at
        one that comes late: the database may have been away, which no host can beat in, or this process paused.
        """
        with self._database.read() as conn:
            row = conn.execute(_beat, {"host": host}).one_or_none()
        beat, now = tuple(row) if row else None, time.monotonic()
        silence = GONE_CLAIMS * row.seconds if row else self._seconds
        seen, since = self._seen.get(host, (None, now))
        is_late = now - self._looked.get(host, now) > max(silence / 2, self._late_seconds)
        self._looked[host] = now
        if host not in self._seen or beat != seen or is_late:
            seen, since = self._seen[host] = beat, now
        return now - since >= silence
