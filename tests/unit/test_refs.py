"""What drivers get to know of rows."""

import ast
from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbdsvc import errors, refs
from nbdsvc.driver import SnapshotRef, VolumeRef
from nbdsvc.model import names
from nbdsvc.model.entities import Snapshot, Volume, VolumeType
from nbdsvc.store import repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB

ROOT = Path(__file__).resolve().parents[2]


def _run(database: Database) -> Any:
    return SimpleNamespace(environment=SimpleNamespace(database=database, check_own=lambda _volume: None))


def _volume(database: Database, type_id: str | None) -> Volume:
    made = Volume(
        names.new_id(), "p", "u", size=3, status="creating", host="h", backend="b", pool="p", volume_type_id=type_id
    )
    with database.write() as conn:
        return repositories.volumes.insert(conn, made)


def test_a_driver_gets_the_specs_of_the_type(database: Database) -> None:
    """A volume reaches its driver in bytes and with the extra specs that its type has at that moment."""
    with database.write() as conn:
        found = repositories.volume_types.insert(conn, VolumeType(names.new_id(), "fast", None, True, {"tier": "ssd"}))
    volume = _volume(database, found.id)
    assert refs.read_volume_ref(_run(database), volume.id).extra_specs == {"tier": "ssd"}
    with database.write() as conn:
        repositories.volume_types.update(conn, found.id, extra_specs={"tier": "hdd"})
    ref = refs.read_volume_ref(_run(database), volume.id)
    assert (ref.id, ref.size, ref.extra_specs) == (volume.id, 3 * GiB, {"tier": "hdd"})


def test_a_volume_without_a_type_has_no_specs(database: Database) -> None:
    """A row of an older version, which names no type, reaches its driver all the same; one that is gone is NotFound."""
    assert refs.read_volume_ref(_run(database), _volume(database, None).id).extra_specs == {}
    with pytest.raises(errors.NotFound):
        refs.read_volume_ref(_run(database), "gone")


def test_a_snapshot_is_in_the_pool_of_its_volume(database: Database) -> None:
    """A driver gets a snapshot with the pool of its volume; one that is gone is NotFound."""
    volume = _volume(database, None)
    with database.write() as conn:
        repositories.snapshots.insert(conn, Snapshot("s", "p", "u", volume.id, 2, "available"))
    ref = refs.read_snapshot_ref(_run(database), "s")
    assert (ref.volume_id, ref.size, ref.pool) == (volume.id, 2 * GiB, "p")
    assert refs.read_volume_ref(_run(database), volume.id).pool == "p"
    with pytest.raises(errors.NotFound):
        refs.read_snapshot_ref(_run(database), "gone")


def _makes_references(path: Path) -> bool:
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    return any(name.rpartition(".")[2] in ("VolumeRef", "SnapshotRef") for name in called)


def test_references_are_made_in_one_place() -> None:
    """Nothing but refs.py makes what drivers get, so that no caller forgets the pool or the specs; these are required."""
    paths = [path for room in ("nbdsvc", "drivers") for path in (ROOT / room).rglob("*.py")]
    assert [str(path.relative_to(ROOT)) for path in paths if _makes_references(path)] == ["nbdsvc/refs.py"]
    for kind in (VolumeRef, SnapshotRef):
        required = {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}
        assert required >= {"id", "size", "pool"} | ({"extra_specs"} if kind is VolumeRef else {"volume_id"})
