"""Migrations only add: the version before goes on beside the one that has migrated its database."""

from pathlib import Path

import pytest
import schemas
import sqlalchemy as sa

from nbdsvc.store import migrate
from nbdsvc.store.database import Database

_VERSIONS = Path(migrate.__file__).parent / "migrations" / "versions"
REVISIONS = sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))
# Before processes were upgraded one by one. None is added here: what is to go, goes when no supported version uses it.
NOT_ONLY_ADDED = frozenset({"0006"})


def test_migrations_only_add(tmp_path: Path) -> None:
    """No migration takes a table, a column or a default, or makes a rule that rows of the version before may break."""
    database = Database(str(tmp_path / "test.db"))
    before: dict[str, schemas.Table] = {}
    for revision in REVISIONS:
        migrate.upgrade(database, revision)
        with database.read() as conn:
            after = schemas.read(conn)
        assert revision in NOT_ONLY_ADDED or not schemas.taken(before, after), revision
        before = after
    database.close()
    assert REVISIONS[-1] == migrate.HEAD


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ("ALTER TABLE old ADD COLUMN more TEXT", ""),
        ("ALTER TABLE old ADD COLUMN more TEXT NOT NULL DEFAULT 'x'", ""),
        ("CREATE INDEX some ON old (name)", ""),
        ("CREATE TABLE new (id TEXT, FOREIGN KEY (id) REFERENCES old (id) ON DELETE CASCADE)", ""),
        ("CREATE TABLE new (id TEXT REFERENCES old (id))", "new: its id forbids to remove rows of old"),
        ("CREATE UNIQUE INDEX some ON old (name)", "old: a rule is new (unique): ('name',)"),
        ("ALTER TABLE old DROP COLUMN name", "old: column name is gone"),
        ("ALTER TABLE old RENAME TO other", "table old is gone"),
        ("DROP TABLE old", "table old is gone"),
    ],
)  # fmt: skip
def test_what_is_more_than_an_addition(change: str, taken: str) -> None:
    """The look of the test above sees each kind of change that would stop the version before."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE old (id TEXT PRIMARY KEY, name TEXT)"))
        before = schemas.read(conn)
        conn.execute(sa.text(change))
        assert schemas.taken(before, schemas.read(conn)) == ([taken] if taken else [])


def test_a_new_column_that_must_have_a_value() -> None:
    """SQLite itself does not add one, PostgreSQL does where the table is empty."""
    table: schemas.Table = {"columns": {}, "primary": [], "unique": set(), "foreign": set(), "checks": set()}
    after = {**table, "columns": {"more": ("TEXT", False, None)}}
    assert schemas.taken({"t": table}, {"t": after}) == ["t: column more is new, must have a value and has no default"]
