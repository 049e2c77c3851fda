"""Pool folders on file systems that refuse: what they answer is an error of the driver's contract."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers.file import FileDriver
from drivers.lvm import make
from drivers.marks import OWNER
from drivers.memory_replicated import ReplicatedMemoryDriver
from drivers.pool import MARKER, PoolFolder
from nbdsvc import errors
from nbdsvc.driver import VolumeRef
from nbdsvc.units import GiB, MiB

ID, OWN = "4f0c9a52-1d7b-4b5e-8a55-0f4b8e7f2a01", "op"


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of its own: ext4 with one small block of attributes in a file, or ramfs, which has none of users."""
    folder, image = tmp_path / "mounted", tmp_path / "image"
    folder.mkdir()
    if request.param == "ramfs":
        subprocess.run(["mount", "-t", "ramfs", "ramfs", folder], check=True)
    else:
        image.touch()
        os.truncate(image, 16 * MiB)
        subprocess.run(["mkfs.ext4", "-q", "-b", "1024", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("mounted", ["ramfs"], indirect=True)
def test_a_file_system_without_attributes_cannot_be_a_pool(mounted: Path) -> None:
    """The refusal names the setting, the backend, the folder and the reason."""
    pool = PoolFolder("fast", mounted / "pool")
    with pytest.raises(errors.ConfigError, match="cannot hold volumes: Operation not supported") as caught:
        pool.set_up()
    assert caught.value.setting == "pool"
    assert f"backend fast: {mounted}/pool" in caught.value.reason


def test_a_folder_of_others_cannot_be_a_pool(tmp_path: Path) -> None:
    """The refusal names the setting, the backend, the folder and a file in it."""
    (tmp_path / "letter").touch()
    with pytest.raises(errors.ConfigError) as caught:
        PoolFolder("fast", tmp_path).set_up()
    assert caught.value.setting == "pool"
    assert caught.value.reason == f"backend fast: {tmp_path} is neither empty nor a pool of nbdsvc: it holds letter"


def test_a_relative_folder_is_made_absolute(tmp_path: Path) -> None:
    """A location is read by processes with other working directories."""
    driver = FileDriver("fast", Path(os.path.relpath(tmp_path / "pool")))
    driver.do_setup()
    driver.create_volume(volume := VolumeRef(ID, GiB, "fast", {}), OWN)
    assert driver.location(volume).path.is_absolute()
    assert driver.location(volume).path.samefile(tmp_path / "pool" / "volumes" / f"volume-{ID}")


@pytest.mark.parametrize("mounted", ["ramfs"], indirect=True)
def test_attributes_that_are_refused_are_the_backends_error(mounted: Path, tmp_path: Path) -> None:
    """The pool's folder of volumes was replaced by a file system without attributes: every verb raises BackendUnavailable."""
    driver, volume = FileDriver("fast", tmp_path / "pool"), VolumeRef(ID, GiB, "fast", {})
    driver.do_setup()
    subprocess.run(["mount", "--bind", mounted, tmp_path / "pool" / "volumes"], check=True)
    try:
        driver.location(volume).path.touch()
        for verb in (
            lambda: driver.create_volume(volume, OWN),
            driver.list_objects,
            driver.get_manageable_volumes,
            lambda: driver.manage_existing(volume, {"source-name": "other"}, OWN),
            lambda: driver.unmanage(volume, OWN),
            lambda: driver.unmanage(volume),
            lambda: driver.delete_volume(volume),
        ):
            with pytest.raises(errors.BackendUnavailable, match="not supported|cross-device"):
                verb()
    finally:
        subprocess.run(["umount", "-l", tmp_path / "pool" / "volumes"], check=True)


@pytest.mark.parametrize("mounted", ["ext4"], indirect=True)
def test_a_file_that_has_no_room_for_an_owner_stays_as_it_was(mounted: Path) -> None:
    """An inode that is full of attributes of others: OutOfSpace, and the file keeps its name, its bytes and no owner."""
    driver, volume = FileDriver("fast", mounted / "pool"), VolumeRef(ID, GiB, "fast", {})
    driver.do_setup()
    other = mounted / "pool" / "volumes" / "other"
    other.write_bytes(b"content")
    with pytest.raises(OSError, match="No space"):
        for number in range(1000):
            os.setxattr(other, f"user.{number}", b"x" * 20)
    with pytest.raises(OSError, match="No space"):
        os.setxattr(other, OWNER, b"x" * 36)
    with pytest.raises(errors.OutOfSpace):
        driver.manage_existing(volume, {"source-name": "other"}, "o" * 36)
    assert other.read_bytes() == b"content"
    assert not driver.location(volume).path.exists()
    assert [found.owner for found in driver.list_objects()] == [None]


def test_a_folder_has_one_identity(tmp_path: Path) -> None:
    """Hosts that ask for it at once, and later, get the same; another folder has another one; a pool that is away has none."""
    hosts = [FileDriver("shared", tmp_path / "pool") for _ in range(8)]
    hosts[0].do_setup()
    with ThreadPoolExecutor(len(hosts)) as threads:
        found = list(threads.map(lambda host: host.storage_identities()["shared"], hosts))
    assert len(set(found)) == 1
    assert found[0]
    assert not list((tmp_path / "pool" / "new").iterdir())
    other = FileDriver("shared", pools={"shared": str(tmp_path / "other"), "away": str(tmp_path / "away")})
    other.do_setup()
    (tmp_path / "away" / MARKER).unlink()
    assert other.storage_identities().keys() == {"shared"}
    assert other.storage_identities()["shared"] != found[0]
    (tmp_path / "other" / MARKER).unlink()
    with pytest.raises(errors.BackendUnavailable):
        other.storage_identities()


def test_who_cannot_be_shared_says_why(tmp_path: Path) -> None:
    """A volume group has no lock between hosts; who fails over to another site does so for one host."""
    lvm = make("fast", volume_group="g", lvm_type="thick")
    replicated = ReplicatedMemoryDriver("r", tmp_path / "r", replication_targets={"far": str(tmp_path / "far")})
    for driver, reason in ((lvm, "without lvmlockd"), (replicated, "other sites")):
        with pytest.raises(errors.Unsupported, match=reason):
            driver.storage_identities()


class Late(PoolFolder):
    """Of a host that was said to be dead: while it copies, its heir makes the object, and a client writes to that."""

    heir: Callable[[], None]

    def copy(self, source_fd: int, fd: int) -> None:
        self.heir()
        os.pwrite(fd, b"older", 0)


@pytest.mark.parametrize("verb", ["make", "replace"])
def test_a_host_that_is_not_dead_writes_into_no_object_of_its_heir(tmp_path: Path, verb: str) -> None:
    """Both make it for one operation: the late one finds it made, or fails, and what was written stays."""
    late, heir = Late("fast", tmp_path / "pool"), Heir("fast", tmp_path / "pool")
    late.set_up()
    path, source = late.volume_path(ID), late.snapshot_path(ID)
    heir.make(source, MiB, "before")
    if verb == "replace":
        heir.make(path, MiB, "before")

    def overtake() -> None:
        getattr(heir, verb)(path, MiB, OWN, source)
        with path.open("r+b") as file:
            file.write(b"newer")

    late.heir = overtake
    with contextlib.suppress(errors.BackendUnavailable):
        getattr(late, verb)(path, MiB, OWN, source)
    assert path.read_bytes()[:5] == b"newer"
    late.discard(path)
    assert not list((tmp_path / "pool" / "new").iterdir())


class Heir(PoolFolder):
    """It copies as the file system may not."""

    def copy(self, source_fd: int, fd: int) -> None:
        os.pwrite(fd, os.pread(source_fd, MiB, 0), 0)


def test_two_hosts_adopt_one_file(tmp_path: Path) -> None:
    """Of two that share the folder and have both found the file free, one gets it: else it would be two volumes."""
    one, other = PoolFolder("fast", tmp_path / "pool"), PoolFolder("fast", tmp_path / "pool")
    one.set_up()
    source, path = one.folder / "volumes" / "disk", one.volume_path(ID)
    source.write_bytes(b"content")
    os.setxattr(source, OWNER, b"theirs")  # after this host has looked
    with pytest.raises(errors.Conflict, match="disk in pool fast has another owner"):
        other.adopt(source, path, OWN)
    assert (one.owner(source), path.exists()) == ("theirs", False)
    one.adopt(source, path, "theirs")  # again, after it was killed
    assert (path.read_bytes(), source.exists()) == (b"content", False)
