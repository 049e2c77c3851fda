"""Rows, compare-and-swap, quotas and pages on both databases."""

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres import Postgres

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.listing import Page
from nbdsvc.store import migrate, quotas, repositories, tables
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener


def volume(**given: object) -> Volume:
    values = {
        "project_id": "p",
        "user_id": "u",
        "size": 1,
        "status": "available",
        "host": "h",
        "backend": "b",
        "pool": "p",
        **given,
    }
    return Volume(id=names.new_id(), **values)  # type: ignore[arg-type]


def test_of_many_transitions_at_once_one_wins(database: Database) -> None:
    """Compare-and-swap: eight threads ask for the same transition, one gets it, seven get the status."""
    with database.write() as conn:
        row = repositories.volumes.insert(conn, volume())
    outcomes = []

    def attempt() -> None:
        try:
            with database.write() as conn:
                repositories.volumes.transition(conn, row.id, ["available"], "deleting", action="delete")
            outcomes.append("won")
        except errors.InvalidState as error:
            outcomes.append(error.status)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["deleting"] * 7 + ["won"]


def test_rows_come_back_as_they_were(database: Database) -> None:
    """What is inserted is read, field by field, and found by its metadata, whatever the key, on both databases."""
    odd = """a"b'c.$[0]\\ü"""
    made = volume(name="ü ☃", metadata={"k": "v", odd: odd}, readonly=True, multiattach=True, image_metadata={"x": "1"})
    with database.write() as conn:
        repositories.volumes.insert(conn, made)
    with database.read() as conn:
        assert repositories.volumes.get(conn, made.id) == made
        for pairs, found in (({"k": "v", odd: odd}, [made]), ({odd: "v"}, []), ({'"': "v"}, [])):
            where = repositories.metadata_is(database, tables.volumes.c.metadata, pairs)
            assert repositories.volumes.select(conn, *where) == found
        with pytest.raises(errors.NotFound):
            repositories.volumes.get(conn, made.id, "other project")


def test_an_error_leaves_nothing(database: Database) -> None:
    """A transaction that raises has changed nothing."""
    with pytest.raises(ValueError, match="stop"), database.write() as conn:
        repositories.volumes.insert(conn, volume())
        raise ValueError("stop")
    with database.read() as conn:
        assert repositories.volumes.count(conn) == 0


def test_usage_is_counted_from_the_rows(database: Database) -> None:
    """Volumes count with the size they will have, snapshots with their volume's; other projects do not count."""
    with database.write() as conn:
        one = repositories.volumes.insert(conn, volume(size=3, target_size=5))
        repositories.volumes.insert(conn, volume(project_id="q", size=100))
        repositories.snapshots.insert(conn, Snapshot(names.new_id(), "p", "u", one.id, 3, "available"))
        used = quotas.usage(conn, "p")
        assert (used["volumes"], used["snapshots"], used["gigabytes"]) == (1, 1, 8)
        with pytest.raises(errors.QuotaExceeded, match="requested 3, used 8 of 10"):
            quotas.check(database, conn, "p", {"gigabytes": 10}, {"gigabytes": 3})
        quotas.set_limits(conn, "p", {"gigabytes": -1})
        quotas.check(database, conn, "p", {"gigabytes": 10}, {"gigabytes": 3000})


def test_pages_in_any_order_show_each_row_once(database: Database) -> None:
    """Whatever the columns, their directions and the page size: all rows, once, in that order."""
    rows = [volume(name=name, size=size) for name in (None, "a", "b") for size in (1, 2)]
    with database.write() as conn:
        for row in rows:
            repositories.volumes.insert(conn, row)
    keys = st.lists(
        st.tuples(st.sampled_from(["name", "size", "created_at"]), st.booleans()), max_size=3, unique_by=lambda k: k[0]
    )

    @settings(max_examples=30)
    @given(keys, st.integers(1, 4), st.booleans())
    def walk(sort: list[tuple[str, bool]], limit: int, down: bool) -> None:
        order = (*sort, ("id", down))
        seen: list[Volume] = []
        with database.read() as conn:
            while page := repositories.volumes.select(conn, page=Page(limit, 0, seen[-1].id if seen else None, order)):
                seen += page
            assert seen == repositories.volumes.select(conn, page=Page(sort=order))
        assert sorted(row.id for row in seen) == sorted(row.id for row in rows)

    walk()


def test_migrations_make_the_tables_of_the_program(database: Database) -> None:
    """What the migrations make is what tables.py says, and running them again changes nothing."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    migrate.upgrade(database)
    with database.read() as conn:
        assert compare_metadata(MigrationContext.configure(conn), tables.metadata) == []


def test_damaged_and_newer_databases_are_said(tmp_path: Path) -> None:
    """A file that is no database, and a schema from the future, are ConfigErrors."""
    path = tmp_path / "x.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(errors.ConfigError, match="damaged"):
        migrate.upgrade(Database(str(path)))
    newer = Database(str(tmp_path / "y.db"))
    migrate.upgrade(newer)
    with newer.write() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(errors.ConfigError, match="newer"):
        migrate.upgrade(newer)


@pytest.mark.row("S003")
def test_a_commit_wakes_the_listener(postgres: Postgres) -> None:
    """PostgreSQL tells a host's process of work when the transaction that submitted it commits, not before."""
    database = Database(postgres.database())
    woken = threading.Event()
    listener = Listener(database, {"work": lambda _host: woken.set()})
    listener.start()
    try:
        end = time.monotonic() + 10
        while not woken.is_set() and time.monotonic() < end:
            with database.write() as conn:
                database.notify(conn, "work")
                assert not woken.wait(0.1)
            woken.wait(0.3)
        assert woken.is_set()
    finally:
        listener.stop()
        database.close()
