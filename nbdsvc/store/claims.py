"""One process a host name, enforced in the database: a lock file cannot see another folder, container or machine.

A claim is a row with a beat that its holder counts up. Who wants a name that is claimed looks whether the holder is a dead
process of this machine, which is known at once, else whether the beat stands still, by its own monotonic clock: no time
of day is compared. A holder that lost its claim while it was paused finds out before it writes to the journal.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.store import host_tables
from nbdsvc.store.database import Database

log = structlog.get_logger(__name__)

_c = host_tables.host_claims.c
# Beats in the time after which a claim is taken over: a slow disk may cost some of them.
_BEATS = 4
_LOOK_SECONDS = 0.1
_renew = (
    host_tables.host_claims.update()
    .where(_c.host == sa.bindparam("_host"), _c.instance == sa.bindparam("_instance"))
    .values(beat=_c.beat + 1)
)
_holder = sa.select(_c.instance).where(_c.host == sa.bindparam("host")).with_for_update(read=True)


class Claim:
    """The claim of this process on `host`. seconds: without a beat after which others take it over; note: shown to them."""

    def __init__(self, database: Database, host: str, seconds: float, note: str) -> None:
        self.held = False
        self._database = database
        self._host = host
        self._seconds = seconds
        self._note = note
        self._instance = str(uuid.uuid4())
        self.on_lost: Callable[[], None] = lambda: None
        """Called by a thread of its own, once another process, or an administrator, has taken the host away."""
        self._losing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="claim", daemon=True)

    def take(self) -> None:
        """Return with the claim, which is kept until `release`. ConfigError, naming the holder, where it is alive.

        One that is not alive has `claim_seconds` to show that it is; no other deadline.
        """
        seen, since = None, time.monotonic()
        while not self.held:
            row = self._row()
            beat = (row.instance, row.beat) if row else None
            if seen is not None and beat is not None and beat != seen:
                raise self._taken(row)
            free = row is None or _is_dead(row) or (seen == beat and time.monotonic() - since >= row.seconds)
            self.held = free and self._write(row)
            seen = seen or beat
            time.sleep(0 if self.held else _LOOK_SECONDS)
        self._thread.start()

    def check(self, conn: sa.Connection, operation: str) -> None:
        """Raise Interrupted where the host has another holder by now. Call it in the transaction that writes the journal."""
        if conn.execute(_holder, {"host": self._host}).scalar() != self._instance:
            self._lose()
            raise errors.Interrupted(operation=operation)

    def confirm(self) -> bool:
        """Look into the database whether the claim is ours still; BackendUnavailable where that cannot be determined."""
        row = self._row()
        if self.held and (row is None or row.instance != self._instance):
            self._lose()
        return self.held

    def release(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._database.write() as conn:
            conn.execute(host_tables.host_claims.delete().where(*self._mine()))

    def _keep(self) -> None:
        while self.held and not self._stopping.wait(self._seconds / _BEATS):
            try:
                with self._database.write() as conn:
                    found = conn.execute(_renew, {"_host": self._host, "_instance": self._instance}).rowcount
                if not found:
                    self._lose()
            except errors.Error as error:  # no other process can take it either while the database is away
                log.warning("the claim on the host could not be renewed", host=self._host, reason=str(error))

    def _write(self, row: "sa.Row[tuple[object, ...]] | None") -> bool:
        """Take the row; False where another process was faster: of two that saw the same row one finds it."""
        values = {"instance": self._instance, "machine": _machine(), "pid": os.getpid(), "started": _started(os.getpid()),
                  "beat": 0, "seconds": self._seconds, "note": self._note}  # fmt: skip
        table = host_tables.host_claims
        with self._database.write() as conn:
            self._database.lock_name(conn, f"claim-{self._host}")
            if row is None:
                known = conn.execute(sa.select(_c.host).where(_c.host == self._host)).scalar()
                return known is None and bool(conn.execute(table.insert().values(host=self._host, **values)).rowcount)
            same = (_c.host == self._host, _c.instance == row.instance, _c.beat == row.beat)
            return conn.execute(table.update().where(*same).values(**values)).rowcount == 1

    def _row(self) -> "sa.Row[tuple[object, ...]] | None":
        with self._database.read() as conn:
            return conn.execute(sa.select(host_tables.host_claims).where(_c.host == self._host)).one_or_none()

    def _mine(self) -> tuple["sa.ColumnElement[bool]", ...]:
        return _c.host == self._host, _c.instance == self._instance

    def _lose(self) -> None:
        with self._losing:
            was_held, self.held = self.held, False
        if was_held:
            threading.Thread(target=self.on_lost, name="claim lost", daemon=True).start()
        log.error("another process serves this host now: this one stops its work", host=self._host)

    def _taken(self, row: "sa.Row[tuple[object, ...]] | None") -> errors.ConfigError:
        assert row is not None
        reason = f"process {row.pid} on {row.note} already serves host {self._host} from this database"
        return errors.ConfigError(setting="host", reason=reason)


def listed(conn: sa.Connection) -> list[tuple[str, int, str, bool]]:
    """(host, pid, note, whether its process is known to have ended) of each claim."""
    return [(row.host, row.pid, row.note, _is_dead(row)) for row in conn.execute(sa.select(host_tables.host_claims))]


def forget_dead(conn: sa.Connection, host: str) -> bool:
    """Remove the claim of a process that has ended; False where that is not known of it."""
    row = conn.execute(sa.select(host_tables.host_claims).where(_c.host == host)).one_or_none()
    same = (_c.host == host, _c.instance == row.instance, _c.beat == row.beat) if row and _is_dead(row) else None
    return same is not None and conn.execute(host_tables.host_claims.delete().where(*same)).rowcount == 1


class Holder(NamedTuple):
    """Who claims a host, and its last sign of life."""

    instance: str
    beat: int


def silent_holder(database: Database, host: str) -> Holder | None:
    """Who claims the host and has given no sign of life for its `claim_seconds`, which are waited for; None where no process
    claims it. Conflict for one that lives.
    """
    row, since = _find(database, host), time.monotonic()
    while row is not None and not _is_dead(row) and time.monotonic() - since < row.seconds:
        time.sleep(_LOOK_SECONDS)
        found = _find(database, host)
        if found is not None and (found.instance, found.beat) != (row.instance, row.beat):
            raise errors.Conflict(reason=f"host {host} is not lost: process {found.pid} on {found.note} serves it now")
        row = found
    return Holder(str(row.instance), int(row.beat)) if row is not None else None


def forget_silent(conn: sa.Connection, host: str, holder: Holder | None) -> None:
    """Remove the claim of `silent_holder`: that process writes nothing to the journal any more. Conflict for another one, and
    where that one has given a sign of life since: it was paused, and works again.
    """
    if holder is not None:
        same = (_c.host == host, _c.instance == holder.instance, _c.beat == holder.beat)
        conn.execute(host_tables.host_claims.delete().where(*same))
    if conn.execute(sa.select(_c.instance).where(_c.host == host)).scalar() is not None:
        raise errors.Conflict(reason=f"host {host} is not lost: a process serves it now")


def _find(database: Database, host: str) -> "sa.Row[Any] | None":
    with database.read() as conn:
        return conn.execute(sa.select(host_tables.host_claims).where(_c.host == host)).one_or_none()


def _is_dead(row: "sa.Row[tuple[object, ...]]") -> bool:
    """Known only of a process that this one would see: same boot, same PID namespace."""
    return bool(row.machine == _machine() and _started(int(row.pid)) != row.started)


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """Start time in clock ticks of a process that lives, by /proc/PID/stat (proc(5)); empty for one that does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
