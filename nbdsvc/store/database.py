"""The database: SQLite embedded, or PostgreSQL for several hosts. Opens it, hands out transactions, knows both dialects.

Read transactions see one point in time; write transactions exclude each other on SQLite (BEGIN IMMEDIATE) and rely on
row locks and compare-and-swap on PostgreSQL. Errors of the driver become ours here.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from nbdsvc import errors, state_folder
from nbdsvc.model import clock
from nbdsvc.store import postgresql
from nbdsvc.store.outbox import Outbox
from nbdsvc.store.reserve import Reserve

# WAL: readers see one point in time while another writes. FULL: a commit is on stable storage. secure_delete: what was
# deleted is overwritten, for there are keys among it. temp_store: a sort needs no room on a disk. The last two bound the
# file of the WAL: 1000 pages are 4 MB, and what a long reader made it grow to is given back.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "temp_store=MEMORY",
    "wal_autocheckpoint=1000",
    f"journal_size_limit={8 << 20}",
)
# A writer waits this long for another: longer than any transaction of ours by far, shorter than a client's patience.
BUSY_TIMEOUT_MS = 30_000
# Readers end within milliseconds; if one does not, the next periodic scrub waits for it.
_SCRUB_SECONDS = 1.0
# Not the transaction's time, which is that of its begin.
_SERVER_SECONDS = sa.text("SELECT extract(epoch FROM clock_timestamp())")


class Database:
    """One open database. `url` is a SQLAlchemy URL; a bare path means SQLite.

    reserve: bytes that are kept back beside a file of SQLite's, see store/reserve.py.
    """

    def __init__(self, url: str, reserve: int = 0) -> None:
        self.url = url if "://" in url else f"sqlite:///{url}"
        self.is_sqlite = self.url.startswith("sqlite")
        path = sa.make_url(self.url).database if self.is_sqlite else None
        self.reserve = Reserve(Path(path), reserve) if path and path != ":memory:" else None
        if self.reserve:
            self.reserve.give_up_if_low()
        self.scrubbed = False
        self.outbox: Outbox | None = None
        self._write = _sqlite(self.url, "IMMEDIATE") if self.is_sqlite else postgresql.make_engine(self.url)
        self._read = _sqlite(self.url, "DEFERRED") if self.is_sqlite else self._write

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that may change rows: committed at the end of the block, rolled back by an exception."""
        if self.reserve:
            self.reserve.give_up_if_low()
        with _translated(self), self._write.begin() as conn:
            yield conn

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction for looking only."""
        with _translated(self), self._read.connect() as conn, conn.begin():
            yield conn

    def lock_name(self, conn: sa.Connection, name: str) -> None:
        """Exclude other writers of the same name until this transaction ends, across processes and hosts.

        SQLite has one writer anyway. PostgreSQL: a transaction-level advisory lock on a 63-bit digest of the name.
        """
        if not self.is_sqlite:
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
            conn.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    def lock_name_if(self, conn: sa.Connection, name: str, check: Callable[[], bool]) -> bool:
        """`lock_name`, if `check` agrees once the name is locked; else nothing is locked, and False.

        So who looks for one of several names that will do never waits for one while holding another.
        """
        if self.is_sqlite:
            return check()
        with conn.begin_nested() as savepoint:
            self.lock_name(conn, name)
            agrees = check()
            if not agrees:
                savepoint.rollback()  # a rollback to the savepoint releases the locks taken since
        return agrees

    def notify(self, conn: sa.Connection, channel: str, host: str = "") -> None:
        """Tell listeners on other hosts, when this transaction commits, that there is work. A no-op on SQLite.

        host: where it comes from, for listeners that need no word of their own host.
        """
        if not self.is_sqlite:
            conn.execute(sa.text("SELECT pg_notify(:channel, :host)"), {"channel": channel, "host": host})

    def check(self) -> None:
        """Raise ConfigError with a readable message when the database cannot be used."""
        with self.read() as conn:
            if self.is_sqlite:
                verdict = conn.execute(sa.text("PRAGMA quick_check(1)")).scalar()
                if verdict != "ok":
                    raise errors.ConfigError(setting="database", reason=f"the database file is damaged: {verdict}")
            else:
                conn.execute(sa.text("SELECT 1"))

    def follow_clock(self) -> None:
        """Let `clock.now` be the server's time of day, the same for all processes of an installation, whatever their
        machines' clocks say. A no-op on SQLite, whose processes are on one machine.
        """
        if self.is_sqlite:
            return
        with self.read() as conn:
            before = clock.monotonic()
            there = float(conn.execute(_SERVER_SECONDS).scalar_one())
            clock.follow(there - clock.monotonic(), there - before)

    def scrub(self) -> bool:
        """Let nothing that was deleted stay in SQLite's WAL; False where a reader still needs it: try again later.

        Deleted rows are overwritten in the database itself by secure_delete. PostgreSQL has a WAL of its own keeping.
        """
        if self.reserve is None:
            return True
        connection = sqlite3.connect(str(sa.make_url(self.url).database), timeout=_SCRUB_SECONDS)
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error:
            busy = 1
        finally:
            connection.close()
        self.scrubbed = not busy
        return self.scrubbed

    def reconnect(self) -> None:
        """Use no connection any more that there is now: each leads to where the server was."""
        self._write.dispose()

    def close(self) -> None:
        self._write.dispose()
        self._read.dispose()


def _sqlite(url: str, begin: str) -> sa.Engine:
    path = sa.make_url(url).database
    if path and path != ":memory:":
        _make_private(Path(path))
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=32,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        json_deserializer=_from_json,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is executed explicitly: the driver would begin late, and deferred
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", *_PRAGMAS):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql(f"BEGIN {begin}")

    return engine


def _from_json(text: str) -> Any:
    """A long list reads three columns of each row, and most of them are empty."""
    return {} if text == "{}" else json.loads(text)


def _make_private(path: Path) -> None:
    """The file and its companions, for their owner only: SQLite would take the umask's mode, and give it to them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        state_folder.make_file(path)
        for companion in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if companion.exists():
                state_folder.make_file(companion)
    except OSError as error:
        raise errors.ConfigError(setting="database", reason=f"{error.filename}: {error.strerror}") from error


@contextmanager
def _translated(database: Database) -> Iterator[None]:
    """Database errors as ours; our own errors, raised inside a transaction, pass."""
    try:
        yield
    except exc.IntegrityError as error:
        raise errors.Conflict(reason=f"the database refused the change: {_first_line(error)}") from error
    except (exc.DataError, UnicodeEncodeError, OverflowError) as error:  # a value, not the database, is at fault
        reason = _first_line(error) if isinstance(error, exc.DataError) else str(error)
        raise errors.InvalidInput(field="value", value=None, reason=f"the database cannot hold it: {reason}") from error
    except exc.SQLAlchemyError as error:
        if not database.is_sqlite and postgresql.passes(error):
            raise _gone(database, error) from error
        if not isinstance(error, exc.DBAPIError):
            raise errors.InternalError(reason=f"database: {_first_line(error)}") from error
        text = _first_line(error)
        if database.reserve and "disk is full" in text:
            database.reserve.give_up()
        if "malformed" in text or "not a database" in text:
            raise errors.ConfigError(setting="database", reason=f"the database file is damaged: {text}") from error
        raise errors.BackendUnavailable(backend="database", reason=text) from error


def _gone(database: Database, error: exc.SQLAlchemyError) -> errors.DatabaseUnavailable:
    if postgresql.leads_to_standby(error):
        database.reconnect()
    return errors.DatabaseUnavailable(backend="database", reason=_first_line(error))


def _first_line(error: exc.SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    return str(cause).strip().partition("\n")[0]
