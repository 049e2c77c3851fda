"""An operation, a request and a listener whose connections PostgreSQL ends."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import Postgres
from untyped_operations import Run, Step, untyped
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.operations.engine import Engine
from nbdsvc.store import migrate, postgresql
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database

_END_MINE = sa.text("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    made = Database(postgres.database())
    migrate.upgrade(made)
    yield made
    made.close()


@pytest.mark.parametrize("moment", ["do", "undo"])
def test_a_step_that_loses_the_database_is_run_again(database: Database, tmp_path: Path, moment: str) -> None:
    """Neither is its operation undone for it, nor does an undo count as failed: it goes on where it was."""
    did, ends = list[str](), list[str]()

    def lose_once(name: str) -> None:
        did.append(name)
        if name == moment and did.count(name) == 1:
            with database.write() as conn:
                conn.execute(_END_MINE)

    def do(run: Run) -> None:
        lose_once("do")
        if moment == "undo":
            raise errors.BackendUnavailable(backend="b", reason="the test wants it")

    step = Step("only", do, lambda _run: lose_once("undo"))
    end = lambda _conn, operation, *_: ends.append(operation.state)  # noqa: E731
    engine = Engine(database, "me", {"kind": untyped("kind", (step,), end, end)}, None, tmp_path / "locks", 0.05)
    id = names.new_id()
    with database.write() as conn:
        journal.insert(conn, Operation(id, "kind", "me", "p", "volume", id, {}, []))
    engine.start()
    try:
        wait_until(lambda: ends)
    finally:
        engine.stop()
    with database.read() as conn:
        ended = journal.rows.get(conn, id)
    assert did == (["do", "do"] if moment == "do" else ["do", "undo", "undo"])
    assert ended.state == (model.SUCCEEDED if moment == "do" else model.FAILED)
    assert "database" not in str(ended.error)


def test_what_passes_and_what_does_not(database: Database) -> None:
    """A lost connection and a standby are DatabaseUnavailable; a wrong statement is not, for it would be wrong for ever."""
    with pytest.raises(errors.DatabaseUnavailable), database.read() as conn:
        conn.execute(_END_MINE)
    with pytest.raises(errors.DatabaseUnavailable), database.write() as conn:
        conn.execute(sa.text("SET TRANSACTION READ ONLY"))
        conn.execute(sa.text("CREATE TABLE nothing (id int)"))
    with pytest.raises(errors.BackendUnavailable) as raised, database.read() as conn:
        conn.execute(sa.text("SELECT nothing FROM nowhere"))
    assert not isinstance(raised.value, errors.DatabaseUnavailable)


def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    """Connections have limits for a machine that is gone, and the URL's own come first."""
    given = postgresql.connection_arguments("postgresql://u@/n?tcp_user_timeout=500&sslmode=verify-full&host=a&host=b")
    assert (given["tcp_user_timeout"], given["connect_timeout"]) == ("500", "5")
    assert (given["sslmode"], given["host"]) == ("verify-full", "a,b")
    began = time.monotonic()
    gone = Database("postgresql://u@/n?host=/nowhere")
    with pytest.raises(errors.DatabaseUnavailable), gone.read():
        pass
    assert time.monotonic() - began < 30
