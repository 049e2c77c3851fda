"""The folder of an NBD export while one thread removes it: another that writes to it brings no part of it back."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.exports.nbd import moved
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.exports.note_version import VERSION
from nbdsvc.location import Location
from nbdsvc.model import names

HERE, THERE = (Location.file(Path(path)).to_json() for path in ("/pool/a", "/pool/b"))
# Of 1000 rounds, 445 failed before the folder was renamed first.
ROUNDS = 100


@pytest.fixture
def exporter() -> Iterator[NbdExporter]:
    """Of a folder with a short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        yield NbdExporter(Path(folder) / "e", "hypervisor1")


def exported(exporter: NbdExporter) -> str:
    id = names.new_id()
    state = StateDir(exporter._root, id)
    state.write({"version": VERSION, "id": id, "location": HERE}, None, durable=False)
    moved.record(state.path, HERE, THERE)
    return id


def limit(exporter: NbdExporter, id: str) -> None:
    """No server runs here: only the file for the next one is written."""
    with pytest.raises(errors.ExportFailed):
        exporter.limit_clients(id, {"total_bytes_sec": 1})


@pytest.mark.row("S033")
@pytest.mark.parametrize("write", [NbdExporter.forget_move, limit], ids=["the end of a move", "limits"])
def test_a_removed_export_stays_removed(exporter: NbdExporter, write: Callable[[NbdExporter, str], None]) -> None:
    """A detach and the end of a migration, or new limits, at one moment: neither fails, and nothing is left."""
    together = threading.Barrier(2)

    def at_once(work: Callable[[], object]) -> None:
        together.wait(60)
        work()

    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            id = exported(exporter)
            works = [lambda id=id: write(exporter, id), lambda id=id: exporter.remove(id)]
            for result in [threads.submit(at_once, work) for work in works]:
                result.result(60)
            moved.forget(exporter._root / id)
            assert list(exporter._root.iterdir()) == []


def test_a_removal_that_was_killed_is_gone_on_with(exporter: NbdExporter) -> None:
    """Its folder is found as the export, and the next removal ends it."""
    id = exported(exporter)
    moved.forget(exporter._root / id)
    (exporter._root / id).rename(exporter._root / f"{id}.removed")
    assert exporter.inventory().exports == (id,)
    exporter.remove(id)
    assert list(exporter._root.iterdir()) == []
