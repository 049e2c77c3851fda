"""What LIO gets to know of a volume's location: the scheme says which backstore, a look only whether the volume is there."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.exporter import Access, Connector, ExportSpec, Inventory
from nbdsvc.exports.lio import LioExporter
from nbdsvc.exports.lio.memory import MemoryLio
from nbdsvc.exports.lio.plan import BLOCK, FILE
from nbdsvc.exports.lio.portals import parse
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

INITIATOR = "iqn.2026-11.org.example:host"


class Storage:
    """A simulated LIO, a volume in a file and one on a device, of which there is the node alone: nothing opens it here."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lio = folder, MemoryLio()
        file, device = folder / "file", folder / "device"
        file.write_bytes(bytes(MiB))
        os.mknod(device, stat.S_IFBLK | 0o600, os.makedev(7, 255))
        self.file, self.device = Location.file(file), Location.block(device)

    def service(self, *, write_through: bool) -> LioExporter:
        portals = parse(["192.0.2.1"])
        return LioExporter(self.folder / "e", self.lio, portals, "iqn.x:", 512, write_through=write_through)

    def spec(self, location: Location) -> ExportSpec:
        access = Access(network=True, needs_secret=True, initiators=(INITIATOR,))
        return ExportSpec(names.new_id(), names.new_id(), location, access, secret="5a" * 32)

    def make_older(self, spec: ExportSpec) -> None:
        """The note becomes one of version 1, which had a path."""
        path = self.folder / "e" / f"{spec.id}.lio"
        note = json.loads(path.read_text()) | {"version": 1, "path": spec.location.address}
        del note["location"]
        path.write_text(json.dumps(note))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path)


@pytest.mark.parametrize(("write_through", "plugin"), [(False, BLOCK), (True, FILE)])
def test_the_scheme_decides_the_backstore(storage: Storage, write_through: bool, plugin: str) -> None:
    """A device's by the setting; a file's is always one of files, with the file's size."""
    for location, expected, size in ((storage.device, plugin, 0), (storage.file, FILE, MiB)):
        spec = storage.spec(location)
        storage.service(write_through=write_through).ensure(spec)
        source = storage.lio.objects[names.volume_name(spec.volume_id)].source
        assert (source.plugin, source.path, source.size) == (expected, location.address, size)


@pytest.mark.parametrize("older", [False, True], ids=["as noted", "with an older note"])
def test_a_volume_that_is_exported_keeps_its_backstore(storage: Storage, older: bool) -> None:
    """Another setting, and a note that had a path, take no disk away: nothing is missing, and nothing is made anew."""
    specs = [storage.spec(storage.device), storage.spec(storage.file)]
    for spec in specs:
        storage.service(write_through=False).ensure(spec)
        if older:
            storage.make_older(spec)
    objects, targets = dict(storage.lio.objects), dict(storage.lio.targets)
    again = storage.service(write_through=True)
    for spec in specs:
        assert again.health(spec.id).ok
        again.ensure(spec)
    assert (storage.lio.objects, storage.lio.targets) == (objects, targets)


def test_a_device_that_is_away_keeps_its_export(storage: Storage) -> None:
    """An older note does not tell that it was a device; another attachment's end leaves the target as it is."""
    first = storage.spec(storage.device)
    other = replace(first, id=names.new_id(), access=replace(first.access, initiators=(INITIATOR + "2",)))
    exporter = storage.service(write_through=False)
    for spec in (first, other):
        exporter.ensure(spec)
        storage.make_older(spec)
    objects = dict(storage.lio.objects)
    storage.device.path.unlink()
    assert not exporter.health(first.id).ok
    exporter.remove(other.id)
    assert storage.lio.objects == objects


@pytest.mark.parametrize(
    "wrong", [lambda storage: Location.block(storage.file.path), lambda storage: Location.file(storage.device.path),
              lambda storage: Location.block(storage.folder / "missing")],
)  # fmt: skip
def test_what_is_not_there_is_no_target(storage: Storage, wrong: Callable[[Storage], Location]) -> None:
    """Neither for a path that is missing, nor for one that is not what its scheme says."""
    exporter = storage.service(write_through=False)
    with pytest.raises(errors.ExportFailed, match="there is no volume at"):
        exporter.ensure(storage.spec(wrong(storage)))
    assert (exporter.inventory(), storage.lio.objects) == (Inventory(), {})


def test_another_scheme_is_refused_before_anything_is_made(storage: Storage) -> None:
    """By accept, whatever the connector is, and by ensure: the scheme is named."""
    exporter, location = storage.service(write_through=False), Location("rbd", "pool/image")
    for refuse in (lambda: exporter.accept(Connector(), location), lambda: exporter.ensure(storage.spec(location))):
        with pytest.raises(errors.Unsupported, match="iSCSI exports volumes at .* locations, and this one is at rbd"):
            refuse()
    assert (exporter.inventory(), storage.lio.objects) == (Inventory(), {})
