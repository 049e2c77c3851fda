"""What exporters noted on disk in older versions is read by this one: golden files of each version.

golden/version-0: as commits 7b1fcb8 and 6c59c22 wrote them (no version yet). golden/version-1: as this one does.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.lio import LioExporter
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.lio.portals import parse
from nbdsvc.exports.lio.state_dir import Note, StateDir
from nbdsvc.exports.nbd import exporter as nbd
from nbdsvc.exports.note_version import VERSION

GOLDEN = Path(__file__).with_name("golden")
ID, VOLUME = "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01", "0b8a2f6e-6c0e-4f1c-9c59-3f1d0a6f7c11"
PATH = Path(f"/var/lib/nbdsvc/pool/volume-{VOLUME}")
ACCESS = Access(network=True, needs_secret=True, initiators=("iqn.2026-11.org.example:one",))
SPEC = ExportSpec(ID, VOLUME, PATH, ACCESS, secret="5a" * 32)


@pytest.fixture(params=["version-0", "version-1"])
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
    assert json.loads((exports / f"{ID}.lio").read_text()) == json.loads(
        (GOLDEN / "version-1" / f"{ID}.lio").read_text()
    )


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
    assert not nbd._serves(note, exporter._describe(replace(SPEC, read_only=True)))
    assert state.secret() == SPEC.secret
    written = exporter._describe(SPEC)
    golden = json.loads((GOLDEN / "version-1" / ID / "spec.json").read_text())
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
