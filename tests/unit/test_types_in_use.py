"""Volume types that volumes have, or are being given, and what an attach reads of them; on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.config import Settings
from nbdsvc.model import names
from nbdsvc.model.entities import Move, QosSpecs, Volume, VolumeType
from nbdsvc.operations.client import Operations
from nbdsvc.store import moves, qos_specs, repositories
from nbdsvc.store.database import Database
from nbdsvc.types.change import delete_type
from nbdsvc.types.encryption import check_not_encrypted
from nbdsvc.types.extra_specs import edit_extra_specs


@pytest.fixture
def app(database: Database) -> App:
    return App(database, Operations(database, None), Settings(), None)


def made_type(conn: sa.Connection, **given: Any) -> VolumeType:
    id = names.new_id()
    return repositories.volume_types.insert(conn, VolumeType(id, f"type {id}", extra_specs={"k": "v"}, **given))


def retyping(conn: sa.Connection, before: VolumeType, after: VolumeType) -> tuple[Volume, Move]:
    """A volume whose retype by a migration is under way."""
    volume = Volume(names.new_id(), "p", "u", 1, "retyping", "h", "b", "p", volume_type_id=before.id)
    move = Move(volume.id, names.new_id(), 1, "h", "b", "q", volume_type_id=after.id)
    return repositories.volumes.insert(conn, volume), repositories.moves.insert(conn, move)


def test_a_type_that_a_volume_is_being_given_stays_as_it_is(app: App) -> None:
    """It is neither deleted nor are its extra specs changed, by which the pool was chosen; after the switch, the former type
    may be."""
    with app.database.write() as conn:
        before, after = made_type(conn), made_type(conn)
        volume, move = retyping(conn, before, after)
    with pytest.raises(errors.InvalidInput, match="1 volumes are being given this type"):
        delete_type(app, after.id)
    for change in ({"k": "w"}, {"k": None}):
        with pytest.raises(errors.Conflict, match="1 volumes are being given type"):
            edit_extra_specs(app, after.id, change)
    assert edit_extra_specs(app, before.id, {"l": "m"}) == {"k": "v", "l": "m"}
    with app.database.write() as conn:
        moves.switch(conn, volume, move)
    assert edit_extra_specs(app, after.id, {"k": "w"}) == {"k": "w"}
    with pytest.raises(errors.InvalidInput, match="1 volumes have this type"):
        delete_type(app, after.id)
    delete_type(app, before.id)


def test_a_migration_keeps_no_type_as_it_is(app: App) -> None:
    """The volume has the type already: what its extra specs are becomes of no move."""
    with app.database.write() as conn:
        only = made_type(conn)
        retyping(conn, only, only)
    assert edit_extra_specs(app, only.id, {"k": None}) == {}


@pytest.mark.parametrize("kind_of_database", ["postgresql"])  # SQLite has one writer at a time
def test_of_a_deletion_and_a_retype_at_once_one_waits(app: App) -> None:
    """On PostgreSQL: a deletion waits for who is giving the type away, and sees it; who comes later finds no type."""
    with app.database.write() as conn:
        before, after, gone = made_type(conn), made_type(conn), made_type(conn)
    with ThreadPoolExecutor(1) as pool:
        with app.database.write() as conn:
            check_not_encrypted(conn, after)
            deletion = pool.submit(delete_type, app, after.id)
            retyping(conn, before, after)
        with pytest.raises(errors.InvalidInput, match="are being given this type"):
            deletion.result(30)
    delete_type(app, gone.id)
    with app.database.write() as conn, pytest.raises(errors.NotFound):
        check_not_encrypted(conn, gone)


@contextmanager
def statements(conn: sa.Connection) -> Iterator[list[str]]:
    found: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found.append(statement)

    sa.event.listen(conn, "before_cursor_execute", note)
    yield found
    sa.event.remove(conn, "before_cursor_execute", note)


@pytest.mark.parametrize("consumer", ["front-end", "both", "back-end", None])
def test_what_an_attach_tells_its_user_of_qos_is_one_query(app: App, consumer: str | None) -> None:
    """Whatever the type has; and none for a volume without a type."""
    with app.database.write() as conn:
        specs = QosSpecs(names.new_id(), "q", consumer or "both", {"total_iops_sec_per_gb": "5"})
        repositories.qos_specs.insert(conn, specs)
        kind = made_type(conn, qos_specs_id=specs.id if consumer else None)
        with statements(conn) as seen:
            found = qos_specs.front_end(conn, kind.id, 3)
            assert len(seen) == 1
            assert qos_specs.front_end(conn, None, 3) is None
            assert len(seen) == 1
    assert found == ({"total_iops_sec": "15"} if consumer in ("front-end", "both") else None)
