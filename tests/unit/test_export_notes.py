"""What exporters noted on disk in older versions is read by this one: golden files of each version.

golden/version-0: as commits 7b1fcb8 and 6c59c22 wrote them (no version yet). golden/version-1: as 5829052 did (`path`).
golden/version-2: as this one does (`location`).
"""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.lio import LioExporter
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.lio.portals import parse
from nbdsvc.exports.lio.state_dir import Note, StateDir
from nbdsvc.exports.nbd import exporter as nbd
from nbdsvc.exports.note_version import VERSION, is_at, is_whole, noted_location
from nbdsvc.location import Location

GOLDEN = Path(__file__).with_name("golden")
ID, VOLUME = "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01", "0b8a2f6e-6c0e-4f1c-9c59-3f1d0a6f7c11"
PATH = Path(f"/var/lib/nbdsvc/pool/volume-{VOLUME}")
ACCESS = Access(network=True, needs_secret=True, initiators=("iqn.2026-11.org.example:one",))
SPEC = ExportSpec(ID, VOLUME, Location.file(PATH), ACCESS, secret="5a" * 32)
CURRENT = GOLDEN / f"version-{VERSION}"
# The path that older notes have in place of a location.
NO_LOCATIONS: list[Any] = [None, 5, "volume", [], {}, {"scheme": "file"}, {"scheme": "file", "address": "volume"},
    {"scheme": "ftp", "address": "/volume"}, {"scheme": [], "address": "/volume"}, {"scheme": "file", "address": 5},
    {"scheme": "file", "address": "/volume", "options": {"size": "1"}},
    {"scheme": "file", "address": "/volume", "options": 5}]  # fmt: skip


@pytest.fixture(params=["version-0", "version-1", "version-2"])
def exports(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of exports as that version left it; with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        yield Path(shutil.copytree(GOLDEN / request.param, Path(folder) / "e"))


def nbd_exporter(exports: Path) -> nbd.NbdExporter:
    return nbd.NbdExporter(exports, "hypervisor1", "192.0.2.1", (10810, 11809))


def lio_exporter(exports: Path) -> LioExporter:
    return LioExporter(
        exports, MemoryLio(), parse(["192.0.2.1"]), "iqn.2010-10.org.openstack:", 512, write_through=True
    )


def test_notes_of_lio(exports: Path) -> None:
    """Each is the same export, and written again it is as this version writes it."""
    state = StateDir(exports)
    assert state.find(ID) == Note(SPEC)
    found = lio_exporter(exports).find(ID)
    assert found and (found[0], found[1].data["target_iqn"]) == (SPEC, f"iqn.2010-10.org.openstack:volume-{VOLUME}")
    state.write(SPEC)
    assert json.loads((exports / f"{ID}.lio").read_text()) == json.loads((CURRENT / f"{ID}.lio").read_text())


def test_a_removal_that_had_begun_goes_on(exports: Path) -> None:
    """`leaving` of version 0 is `removing`: such an export is not there, and its removal ends it."""
    path = exports / f"{ID}.lio"
    path.write_text(path.read_text().replace('"leaving": false', '"leaving": true').replace(
        '"removing": false', '"removing": true'))  # fmt: skip
    exporter = lio_exporter(exports)
    assert not exporter.health(ID).ok
    exporter.remove(ID)
    assert not path.exists()


def test_notes_of_nbd(exports: Path) -> None:
    """Each is the same export; a server that runs by it is not restarted, wherever this version is installed."""
    exporter, state = nbd_exporter(exports), nbd.StateDir(exports, ID)
    note = state.read()
    assert note
    assert note.get("port") == 10815
    assert nbd._serves(note, exporter._describe(SPEC))
    for other in ({"read_only": True}, {"location": Location.file(PATH.with_name("other"))}):
        assert not nbd._serves(note, exporter._describe(replace(SPEC, **other)))  # type: ignore[arg-type]
    assert state.secret() == SPEC.secret
    written = exporter._describe(SPEC)
    golden = json.loads((CURRENT / ID / "spec.json").read_text())
    assert {**written, "port": 10815, "pythonpath": "", "nbdkit": ""} == {**golden, "pythonpath": "", "nbdkit": ""}


def test_a_newer_versions_notes_are_refused(exports: Path) -> None:
    """They are neither exported by half of what they say, nor written over."""
    for path in (exports / f"{ID}.lio", exports / ID / "spec.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": VERSION + 1}))
    before = (exports / ID / "spec.json").read_text()
    for refuse in (lambda: nbd_exporter(exports).ensure(SPEC), lambda: nbd_exporter(exports).find(ID),
                   lambda: lio_exporter(exports).find(ID)):  # fmt: skip
        with pytest.raises(errors.ExportFailed, match=f"version {VERSION + 1}"):
            refuse()
    assert (exports / ID / "spec.json").read_text() == before


def paths() -> st.SearchStrategy[Path]:
    return st.text("ab/", min_size=1).map(lambda text: Path("/" + text.lstrip("/")))


@given(paths(), paths(), st.sampled_from([{}, {"version": 0}, {"version": 1}]), st.sampled_from(["file", "block"]))
def test_a_path_of_an_older_note_is_that_location(old: Path, new: Path, version: dict[str, int], scheme: Any) -> None:
    """Whether it is a file's or a block device's, and whether or not it is there now: its server is not restarted."""
    note = {**version, "path": str(old)}
    assert is_whole(note)
    assert is_at(note, Location(scheme, str(new))) == (old == new)
    assert not is_at(note, Location("rbd", "pool/image"))


@given(paths(), paths(), st.sampled_from(["file", "block"]), st.sampled_from(["file", "block"]))
def test_a_noted_location_is_no_other_one(old: Path, new: Path, one: Any, other: Any) -> None:
    """It is read as it was written, and only the same one equals it."""
    location = Location(one, str(old))
    note = {"version": VERSION, "location": json.loads(json.dumps(location.to_json()))}
    assert is_whole(note)
    assert noted_location(note) == location
    assert is_at(note, Location(other, str(new))) == ((one, old) == (other, new))


def test_an_older_notes_path_tells_whether_it_is_a_device(tmp_path: Path) -> None:
    """By a look; what is not there counts as a file."""
    device = tmp_path / "device"
    os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(7, 255))
    for path, expected in ((device, Location.block(device)), (PATH, Location.file(PATH)),
                           (Path(__file__), Location.file(Path(__file__)))):  # fmt: skip
        assert noted_location({"version": 1, "path": str(path)}) == expected


def json_values() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    keys = st.sampled_from(["version", "path", "location", "scheme", "address", "options"])
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys | st.text(), inner))


@given(json_values())
def test_no_note_is_too_damaged_to_be_recognised(value: Any) -> None:
    """Whatever a file has become, no error comes of looking at it; a whole note of this version has a location."""
    if is_whole(value) and value.get("version", 0) <= VERSION:
        noted_location(value)


@pytest.mark.parametrize("location", NO_LOCATIONS)
def test_a_note_without_a_location_is_damaged(exports: Path, location: Any) -> None:
    """As one that is no JSON: none of it is used, it is reported as a fault, and the export can be made again and removed."""
    for path in (exports / f"{ID}.lio", exports / ID / "spec.json"):
        note = json.loads(path.read_text())
        path.write_text(json.dumps({**note, ("location" if note.get("version", 0) >= 2 else "path"): location}))
    for exporter in (nbd_exporter(exports), lio_exporter(exports)):
        assert exporter.find(ID) is None
        assert not exporter.health(ID).ok
        assert exporter.inventory().exports == (ID,)
        exporter.remove(ID)
    assert list(exports.iterdir()) == []
