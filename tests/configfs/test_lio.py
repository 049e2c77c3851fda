"""The exporter's contract over the kernel's LIO. Collected only where NBDSVC_TEST_LIO names a folder for volumes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdsvc import errors
from nbdsvc.exporter import Access, Exporter, ExportSpec, Inventory
from nbdsvc.exports.lio import LioExporter, chap
from nbdsvc.exports.lio.kernel import KernelLio
from nbdsvc.exports.lio.portals import parse
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

FOLDER = Path(os.environ["NBDSVC_TEST_LIO"])
CONFIGFS = Path("/sys/kernel/config/target")
PREFIX = "iqn.2010-10.org.openstack:"
HOSTS = ["iqn.2026-11.org.example:one", "iqn.2026-11.org.example:two"]


class Storage:
    """An exporter, and a volume in a file, on a device, or on a device that is written through its cache (`through`)."""

    def __init__(self, folder: Path, kind: str, *portals: str, block_size: int = 512) -> None:
        self.folder, self.kind = folder, kind
        self.portals = portals or ("127.0.0.1:3261", "[::1]:3261")
        self.block_size = block_size
        self.write_through = kind == "through"
        self.exporter = self.service()
        file = folder / "volume"
        file.touch()
        os.truncate(file, 16 * MiB)
        self.file = self.path = file
        if kind != "file":
            self.path = Path(run("losetup", "--find", "--show", str(file)).strip())
        self.location = Location.file(file) if kind == "file" else Location.block(self.path)

    def service(self) -> LioExporter:
        """As after a restart."""
        folder, lio = self.folder / "exports", KernelLio(self.block_size)
        return LioExporter(folder, lio, parse(self.portals), PREFIX, self.block_size, write_through=self.write_through)

    def spec(self, volume: str | None = None, initiator: str = HOSTS[0], **given: Any) -> ExportSpec:
        access = Access(network=True, needs_secret=True, initiators=(initiator,))
        given = {"secret": os.urandom(32).hex(), **given}
        return ExportSpec(names.new_id(), volume or names.new_id(), self.location, access, **given)

    def close(self) -> None:
        there = self.exporter.inventory()
        for id in there.exports + there.orphans:
            self.exporter.remove(id)
        if self.kind != "file":
            run("losetup", "--detach", str(self.path))


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def tpg(spec: ExportSpec) -> Path:
    return CONFIGFS / "iscsi" / f"{PREFIX}volume-{spec.volume_id}" / "tpgt_1"


def backstore(spec: ExportSpec) -> Path:
    return next(CONFIGFS.glob(f"core/*/volume-{spec.volume_id}"))


def left() -> list[str]:
    """What is configured: targets, backstores and their empty folders."""
    fixed = {"discovery_auth", "cpus_allowed_list", "lio_version", "alua"}
    folders = [*(CONFIGFS / "iscsi").iterdir(), *(CONFIGFS / "core").iterdir()]
    return sorted(path.name for path in folders if path.name not in fixed)


@pytest.fixture(params=["file", "device", "through"])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    made = Storage(tmp_path_factory.mktemp("lio"), request.param)
    yield made
    made.close()
    assert left() == []


@pytest.mark.row("S067", "S068", "S069")
def test_an_export_comes_is_found_and_goes(storage: Storage) -> None:
    """Made twice it is one; what LIO has is as the notes say; removed twice it is gone, also for a new process."""
    assert isinstance(storage.exporter, Exporter)
    spec = storage.spec()
    assert storage.exporter.ensure(spec) == storage.exporter.ensure(spec)
    acl = tpg(spec) / "acls" / HOSTS[0]
    assert (acl / "auth" / "password").read_text().strip() == chap.password(spec.secret or "")
    assert (tpg(spec) / "attrib" / "authentication").read_text().strip() == "1"
    assert (tpg(spec) / "attrib" / "generate_node_acls").read_text().strip() == "0"
    assert {path.name for path in (tpg(spec) / "np").iterdir()} == {"127.0.0.1:3261", "[::1]:3261"}
    assert (backstore(spec) / "wwn" / "vpd_unit_serial").read_text().split()[-1] == spec.volume_id
    again = storage.service()
    assert (again.inventory(), again.health(spec.id).ok) == (Inventory((spec.id,)), True)
    again.ensure(spec)
    for _ in range(2):
        again.remove(spec.id)
    assert (again.inventory(), left()) == (Inventory(), [])


@pytest.mark.row("S069", "S071")
def test_the_last_attachment_of_an_initiator_takes_its_access(storage: Storage) -> None:
    """Of two attachments of one initiator, the first to go takes nothing (LP 1786327); another initiator has its own."""
    first = storage.spec()
    second = storage.spec(first.volume_id, secret=first.secret)
    other = storage.spec(first.volume_id, HOSTS[1], read_only=True)
    for spec in (first, second, other):
        storage.exporter.ensure(spec)
    acls = tpg(first) / "acls"
    assert (acls / HOSTS[1] / "lun_0" / "write_protect").read_text().strip() == "1"
    assert (acls / HOSTS[0] / "lun_0" / "write_protect").read_text().strip() == "0"
    storage.exporter.remove(first.id)
    assert {path.name for path in acls.iterdir()} == set(HOSTS)
    storage.exporter.remove(second.id)
    assert {path.name for path in acls.iterdir()} == {HOSTS[1]}
    storage.exporter.remove(other.id)
    assert left() == []


def _unlink_mapped(spec: ExportSpec) -> None:
    lun = tpg(spec) / "acls" / HOSTS[0] / "lun_0"
    next(path for path in lun.iterdir() if path.is_symlink()).unlink()


def _remove_acl(spec: ExportSpec) -> None:
    _unlink_mapped(spec)
    (tpg(spec) / "acls" / HOSTS[0] / "lun_0").rmdir()
    (tpg(spec) / "acls" / HOSTS[0]).rmdir()


def _unlink_lun(spec: ExportSpec) -> None:
    _unlink_mapped(spec)
    next(path for path in (tpg(spec) / "lun" / "lun_0").iterdir() if path.is_symlink()).unlink()


def _remove_lun(spec: ExportSpec) -> None:
    _unlink_lun(spec)
    (tpg(spec) / "acls" / HOSTS[0] / "lun_0").rmdir()
    (tpg(spec) / "lun" / "lun_0").rmdir()


def _remove_all(spec: ExportSpec) -> None:
    _remove_acl(spec)
    _remove_lun_after_acl(spec)
    for portal in list((tpg(spec) / "np").iterdir()):
        portal.rmdir()
    tpg(spec).rmdir()
    tpg(spec).parent.rmdir()
    path = backstore(spec)
    path.rmdir()
    path.parent.rmdir()


def _remove_lun_after_acl(spec: ExportSpec) -> None:
    next(path for path in (tpg(spec) / "lun" / "lun_0").iterdir() if path.is_symlink()).unlink()
    (tpg(spec) / "lun" / "lun_0").rmdir()


def _remove_group(spec: ExportSpec) -> None:
    _remove_acl(spec)
    _remove_lun_after_acl(spec)
    for portal in list((tpg(spec) / "np").iterdir()):
        portal.rmdir()
    tpg(spec).rmdir()


HARM: dict[str, Callable[[ExportSpec], Any]] = {
    "another password": lambda spec: (tpg(spec) / "acls" / HOSTS[0] / "auth" / "password").write_text("x" * 16),
    "no password": lambda spec: (tpg(spec) / "acls" / HOSTS[0] / "auth" / "password").write_text("NULL"),
    "no authentication": lambda spec: (tpg(spec) / "attrib" / "authentication").write_text("0"),
    "everybody": lambda spec: (tpg(spec) / "attrib" / "generate_node_acls").write_text("1"),
    "an unknown ACL": lambda spec: (tpg(spec) / "acls" / "iqn.2026-11.org.example:unknown").mkdir(),
    "protected": lambda spec: (tpg(spec) / "acls" / HOSTS[0] / "lun_0" / "write_protect").write_text("1"),
    "disabled": lambda spec: (tpg(spec) / "enable").write_text("0"),
    "a portal less": lambda spec: (tpg(spec) / "np" / "127.0.0.1:3261").rmdir(),
    "a portal more": lambda spec: (tpg(spec) / "np" / "127.0.0.1:3262").mkdir(),
    "no mapped LUN": _unlink_mapped,
    "no access": _remove_acl,
    "an empty LUN": _unlink_lun,
    "no LUN": _remove_lun,
    "no portal group": _remove_group,
    "nothing, as after a reboot": _remove_all,
}


@pytest.mark.row("S068")
@pytest.mark.parametrize("harm", list(HARM))
def test_any_loss_is_seen_and_repaired(storage: Storage, harm: str) -> None:
    """What another program removed or changed in LIO's files is found by looking only, and repaired at once."""
    spec = storage.spec()
    storage.exporter.ensure(spec)
    HARM[harm](spec)
    assert not storage.exporter.health(spec.id).ok
    storage.exporter.ensure(spec)
    assert storage.exporter.health(spec.id).ok
    assert {path.name for path in (tpg(spec) / "acls").iterdir()} == {HOSTS[0]}
    storage.exporter.remove(spec.id)
    assert left() == []


def die_at(write: int, do: Callable[[], Any]) -> bool:
    """Do it in a child that is killed at its so-many-th change of configfs; whether it came to that."""
    child = os.fork()
    if not child:
        count = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if _changes_configfs(event, arguments):
                count += 1
                if count > write:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WIFSIGNALED(status)
    return status != 0


def _changes_configfs(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = arguments
        return str(path).startswith(str(CONFIGFS)) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    changing = event in ("os.mkdir", "os.rmdir", "os.remove", "os.symlink")
    return changing and str(CONFIGFS) in f"{arguments[0]} {arguments[1] if event == 'os.symlink' else ''}"


@pytest.mark.row("S067", "S068", "S069")
def test_killed_at_every_write_it_is_finished_or_removed(storage: Storage) -> None:
    """SIGKILL before each change of LIO's files, while an export is made and while it is removed: the next process
    finishes it, or removes it, and nothing is left."""
    spec, write, made, removed = storage.spec(), 0, 0, 0
    while die_at(write, lambda: storage.exporter.ensure(spec)):
        if write % 2:
            storage.service().ensure(spec)
            assert storage.exporter.health(spec.id).ok
        storage.service().remove(spec.id)
        storage.exporter = storage.service()
        assert _ours() == [], write
        write, made = write + 1, made + 1
    storage.exporter.ensure(spec)
    while die_at(removed, lambda: storage.exporter.remove(spec.id)):
        storage.service().remove(spec.id)
        assert _ours() == [], removed
        storage.service().ensure(spec)
        removed += 1
    print(f"killed at {made} writes of making and {removed} of removing")
    assert made > 15
    assert removed > 8
    # An index without a backstore may be left by the last kill; it goes when the next is made.
    storage.exporter.ensure(spec)
    storage.exporter.remove(spec.id)
    assert left() == []


def _ours() -> list[str]:
    """Targets and backstores; without indexes that have no backstore."""
    return [name for name in left() if "_" not in name] + [
        path.name for path in CONFIGFS.glob("core/*_*/*") if path.is_dir()
    ]


def test_a_device_in_use_is_said_and_nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A device that another program has exclusively is not exported, and the error says so."""
    storage = Storage(tmp_path_factory.mktemp("lio"), "device")
    holder = os.open(storage.path, os.O_RDONLY | os.O_EXCL)
    spec = storage.spec()
    try:
        with pytest.raises(errors.ExportFailed, match="in use"):
            storage.exporter.ensure(spec)
        assert (storage.exporter.inventory(), left()) == (Inventory(), [])
    finally:
        os.close(holder)
    storage.exporter.ensure(spec)
    storage.close()
    assert left() == []


def test_a_portal_that_is_not_there_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An address that this host lacks: the error has it, and nothing is left."""
    storage = Storage(tmp_path_factory.mktemp("lio"), "file", "127.0.0.1:3261", "192.0.2.77")
    with pytest.raises(errors.ExportFailed, match=r"192\.0\.2\.77:3260"):
        storage.exporter.ensure(storage.spec())
    assert (storage.exporter.inventory(), left()) == (Inventory(), [])


@pytest.mark.parametrize("block_size", [512, 4096])
def test_logical_blocks(tmp_path_factory: pytest.TempPathFactory, block_size: int) -> None:
    """The LUN's logical block is as the setting says, and connection_info says so too."""
    storage = Storage(tmp_path_factory.mktemp("lio"), "device", block_size=block_size)
    spec = storage.spec()
    info = storage.exporter.ensure(spec)
    assert (backstore(spec) / "attrib" / "block_size").read_text().strip() == str(block_size)
    assert info.data["logical_block_size"] == block_size
    storage.close()
    assert left() == []


def test_a_device_is_written_through_its_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As the setting says at the first attach: a disk that is in use stays what it is. No cache, so nothing to flush."""
    storage = Storage(tmp_path_factory.mktemp("lio"), "device")
    spec = storage.spec()
    storage.exporter.ensure(spec)
    storage.write_through = True
    other = storage.service()
    other.ensure(spec)
    assert backstore(spec).parent.name.startswith("iblock_")
    other.remove(spec.id)
    other.ensure(spec)
    assert backstore(spec).parent.name.startswith("fileio_")
    assert (backstore(spec) / "attrib" / "emulate_write_cache").read_text().strip() == "0"
    assert (backstore(spec) / "attrib" / "unmap_zeroes_data").read_text().strip() == "0"
    assert "Mode: O_DSYNC" in (backstore(spec) / "info").read_text()
    storage.close()
    assert left() == []


@pytest.mark.row("S092")
def test_growth_is_seen(storage: Storage) -> None:
    """A file that grew is as large for LIO after a refresh; a device's size it asks for each time."""
    spec = storage.spec()
    storage.exporter.ensure(spec)
    os.truncate(storage.file, 32 * MiB)
    storage.exporter.resize(spec.id, 32 * MiB)
    assert storage.exporter.health(spec.id).ok
    if storage.kind == "file":
        assert f"Size: {32 * MiB}" in (backstore(spec) / "info").read_text()


def test_somebody_elses_objects_are_left_alone(storage: Storage) -> None:
    """A backstore and a target that are not ours survive all that we do, and are not listed."""
    foreign = CONFIGFS / "core" / "rd_mcp_77" / "theirs"
    foreign.mkdir(parents=True)
    theirs = CONFIGFS / "iscsi" / "iqn.2010-10.org.openstack:theirs"
    theirs.mkdir()
    spec = storage.spec()
    storage.exporter.ensure(spec)
    assert storage.exporter.inventory() == Inventory((spec.id,))
    storage.exporter.remove(spec.id)
    assert foreign.is_dir()
    assert theirs.is_dir()
    theirs.rmdir()
    foreign.rmdir()
    foreign.parent.rmdir()
