"""Taking over what exists, over every driver (nbdsvc/driver/)."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pools import FOLDERS, Made, implementing, made_on, set_up, snapshot_of, unmanaged, volume

from drivers.file import FileDriver
from nbdsvc import errors
from nbdsvc.units import GiB


@pytest.fixture(params=implementing("ManageDriver", "ManageSnapshotDriver"))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    """Makes the driver, and makes it again on the same pool, as after a restart."""
    yield from made_on(request.param, tmp_path)


@pytest.mark.row("S097", "S098", "S099")
def test_what_exists_is_taken_over_and_let_go_of(make: Made) -> None:
    """Its bytes stay, it grows to the volume's size, repeats are success, and unmanaged it stays, without an owner."""
    driver = make()
    name = unmanaged(driver, "volumes")
    ref, fields = volume(2 * GiB), {"source-name": name}
    found = {each.reference["source-name"]: each for each in driver.get_manageable_volumes()}
    assert (found[name].reason, found[name].id) == ("", None)
    assert driver.manage_existing_get_size(ref, fields) == GiB
    for again in (driver, make()):
        again.manage_existing(ref, fields, "op1")
        assert again.manage_existing_get_size(ref, fields) == 2 * GiB
    with driver.location(ref).path.open("rb") as file:
        assert file.read(6) == b"theirs"
        assert file.seek(0, os.SEEK_END) == 2 * GiB
    assert [(each.id, each.owner) for each in driver.list_objects()] == [(ref.id, "op1")]
    assert [each.reason != "" for each in driver.get_manageable_volumes()] == [True]
    with pytest.raises(errors.Conflict, match="managed already"):
        driver.manage_existing(volume(GiB), {"source-name": f"volume-{ref.id}"}, "op2")
    for _ in range(2):
        driver.unmanage(ref)
    assert [(each.id, each.owner) for each in driver.list_objects()] == [(ref.id, None)]
    again = volume(2 * GiB)
    driver.manage_existing(again, {"source-name": f"volume-{ref.id}"}, "op3")
    driver.unmanage(ref)
    driver.delete_volume(again)
    assert driver.list_objects() == []


@pytest.mark.row("S097")
def test_the_undo_of_a_take_over_gives_the_name_back(make: Made) -> None:
    """Only what carries the operation's mark is renamed; repeating is success."""
    driver = make()
    name = unmanaged(driver, "volumes")
    ref, fields = volume(GiB), {"source-name": name}
    driver.manage_existing(ref, fields, "op1")
    driver.unmanage(ref, "another", fields)
    assert [each.owner for each in driver.list_objects()] == ["op1"]
    for _ in range(2):
        driver.unmanage(ref, "op1", fields)
    assert [(each.name, each.owner) for each in driver.list_objects()] == [(name, None)]
    assert driver.get_manageable_volumes()[0].reason == ""


@pytest.mark.row("S097")
def test_senseless_references_are_refused(make: Made) -> None:
    """No name, a path, nothing of that name, a type that asks for something else: InvalidInput, and nothing changed."""
    driver, ref = make(), volume()
    for fields in ({}, {"source-id": "1"}, {"source-name": "../x"}, {"source-name": ""}, {"source-name": "nothing"}):
        with pytest.raises(errors.InvalidInput, match="ref"):
            driver.manage_existing(ref, fields, "op")
        with pytest.raises(errors.InvalidInput, match="ref"):
            driver.manage_existing_get_size(ref, fields)
    name = unmanaged(driver, "volumes")
    key = "thick_provisioning_support" if driver.facts.thin else "thin_provisioning_support"
    with pytest.raises(errors.InvalidInput, match="volume_type"):
        driver.manage_existing(
            replace(volume(GiB), id=ref.id, extra_specs={key: "<is> True"}), {"source-name": name}, "op"
        )
    assert [(each.name, each.owner) for each in driver.list_objects()] == [(name, None)]


@pytest.mark.parametrize("make", FOLDERS, indirect=True)
@pytest.mark.row("S100")
def test_snapshots_are_taken_over_too(make: Made) -> None:
    """The same for an object that becomes a snapshot of a volume."""
    driver, ref = make(), volume(GiB)
    driver.create_volume(ref, "op")
    name = unmanaged(driver, "snapshots")
    snapshot, fields = snapshot_of(ref, GiB), {"source-name": name}
    assert driver.manage_existing_snapshot_get_size(snapshot, fields) == GiB
    assert [each.reference for each in driver.get_manageable_snapshots()] == [fields]
    for _ in range(2):
        driver.manage_existing_snapshot(snapshot, fields, "op1")
    with driver.snapshot_location(snapshot).path.open("rb") as file:
        assert file.read(6) == b"theirs"
    driver.unmanage_snapshot(snapshot, "op1", fields)
    assert [each.reason for each in driver.get_manageable_snapshots()] == [""]
    driver.manage_existing_snapshot(snapshot, fields, "op2")
    driver.unmanage_snapshot(snapshot)
    assert {each.owner for each in driver.list_objects()} == {"op", None}


def test_killed_while_taking_over(tmp_path: Path) -> None:
    """Whatever half of the two names is there, a repeat ends with the new one, and an undo with the old one."""
    driver = set_up(FileDriver("b", tmp_path / "pool"))
    for undo in (False, True):
        for half in ("marked", "both names"):
            name = unmanaged(driver, "volumes")
            ref, fields = volume(GiB), {"source-name": name}
            source = driver.location(ref).path.with_name(name)
            os.setxattr(source, "user.nbdsvc.owner", b"op")
            if half == "both names":
                os.link(source, driver.location(ref).path)
            if undo:
                driver.unmanage(ref, "op", fields)
            else:
                driver.manage_existing(ref, fields, "op")
            assert [(each.name, each.owner) for each in driver.list_objects()] == [
                (name, None) if undo else (f"volume-{ref.id}", "op")
            ], half
            (source if undo else driver.location(ref).path).unlink()
