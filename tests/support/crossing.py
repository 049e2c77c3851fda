"""Two transactions of PostgreSQL that meet: one waits for rows of the other, which then takes more."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from waiting import wait_until

from nbdsvc.store.database import Database

_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@contextmanager
def meeting(
    database: Database, hold: Callable[[sa.Connection], object], call: Callable[[], Any]
) -> Iterator[tuple[sa.Connection, "Future[Any]"]]:
    """A block in a transaction that has held what `hold` locks, with `call` waiting for that; and the call's result, which
    is there after the block. Each waits for the other where the block needs what `call` has locked.
    """
    with ThreadPoolExecutor(1) as pool:
        with database.write() as conn:
            hold(conn)
            result = pool.submit(call)
            wait_until(lambda: bool(conn.execute(_WAITING).scalar_one()), 20)
            yield conn, result
        result.exception(20)
