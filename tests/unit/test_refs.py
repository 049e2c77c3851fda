"""What drivers get to know of rows."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbdsvc import errors, refs
from nbdsvc.model import names
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.store import repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB

ROOT = Path(__file__).resolve().parents[2]


def _run(database: Database) -> Any:
    return SimpleNamespace(environment=SimpleNamespace(database=database))


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


@pytest.mark.parametrize("name", ["create", "fill", "delete", "extend", "upload"])
def test_no_step_makes_a_reference_by_itself(name: str) -> None:
    """Steps read what they give to a driver by refs, so that none forgets the specs."""
    path = ROOT / f"nbdsvc/volumes/{name}.py"
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert called & {"VolumeRef", "volume_ref", "refs.volume_ref", "driver.VolumeRef"} == set()
