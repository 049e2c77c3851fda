"""Which sessions of backups in the store have ended, by the rows of the installation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from storing import SPACE, vault

from nbdsvc.backups.sessions import end_stale, sweeper_of
from nbdsvc.model import names
from nbdsvc.model.entities import Backup
from nbdsvc.model.operation import Operation
from nbdsvc.store import operations as journal
from nbdsvc.store import repositories
from nbdsvc.store.database import Database


def operation(database: Database, backup: str, state: str) -> str:
    made = Operation(names.new_id(), "backup.create", "h", "p1", "backup", backup, {}, [], state=state)
    with database.write() as conn:
        journal.insert(conn, made)
    return made.id


def test_a_session_has_ended_when_nothing_works_on_its_backup(database: Database, tmp_path: Path) -> None:
    """The newest operation of a backup may have ended while an older one is at work: then its session is kept."""
    kept = vault(tmp_path)
    host = SimpleNamespace(database=database, vault=kept)
    kinds = {"idle": ["succeeded"], "older": ["running", "failed"], "own": ["running"], "creating": []}
    ids, own = {}, ""
    for kind, states in kinds.items():
        status = "creating" if kind == "creating" else "available"
        row = Backup(names.new_id(), "p1", "u", "v", 1, status, SPACE)
        with database.write() as conn:
            repositories.backups.insert(conn, row)
        ids[kind] = row.id
        for state in states:
            own = operation(database, row.id, state)
    run: Any = SimpleNamespace(environment=host, id=own)
    space = kept.space(SPACE)
    for id in (*ids.values(), "of another installation", "named"):
        space.begin_session(id, {})
    assert end_stale(run, space, ["named"]) == 3
    assert space.sessions() == {ids["older"], ids["creating"], "of another installation"}


def test_a_sweep_has_ended_by_its_operation(database: Database, tmp_path: Path) -> None:
    """One of this host without a row is forgotten; one of another host without a row may be another installation's."""
    host = SimpleNamespace(database=database, vault=SimpleNamespace(user="me"))
    ended, running = (operation(database, names.new_id(), state) for state in ("failed", "running"))
    run: Any = SimpleNamespace(environment=host, id="own")
    has_ended = sweeper_of(run, ["you_named"]).has_ended
    assert sweeper_of(run).id == "me_own"
    found = {id: has_ended(id) for id in ("me_own", f"me_{ended}", f"you_{ended}", "me_gone", "you_named")}
    assert found == dict.fromkeys(found, True)
    assert not [id for id in (f"me_{running}", f"you_{running}", "you_gone", "old") if has_ended(id)]
