"""The state folder: whose it is, who can read it, and what is in it after a start."""

import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import ServiceProcess

from nbdsvc import errors, state_folder
from nbdsvc.store.database import Database


def _readable_by_others(folder: Path) -> list[str]:
    """Regular files and folders below it that more than their owner may open."""
    found = [folder, *folder.rglob("*")]
    kinds = [(path, path.lstat().st_mode) for path in found]
    return [str(path) for path, mode in kinds if mode & 0o077 and (stat.S_ISREG(mode) or stat.S_ISDIR(mode))]


def test_a_folder_made_beforehand_is_closed(make_service: Callable[..., ServiceProcess]) -> None:
    """A package's folder of mode 0755, subfolders and an old database of mode 0644 are their owner's only after a start."""
    service = make_service(start=False)
    service.state.chmod(0o755)
    for name in state_folder.SUBFOLDERS:
        (service.state / name).mkdir(mode=0o755)
    (service.state / "nbdsvc.db").touch(0o644)
    client = service.start().client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    client.post("attachments", body={"attachment": {"volume_uuid": volume, "connector": {"host": "me"}}})
    assert (service.state / "nbdsvc.db-wal").exists()
    assert _readable_by_others(service.state) == []


def test_a_database_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """The database, its WAL and its shared memory have mode 0600 where files are usually made for everybody."""
    before = os.umask(0)
    try:
        opened = Database(str(tmp_path / "x.db"))
        with opened.write() as conn:
            conn.exec_driver_sql("CREATE TABLE t (x)")
        assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
            ("x.db", "x.db-wal", "x.db-shm"), 0o600
        )
        opened.close()
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mode", "owner", "content", "reason"), [
    (0o755, 0, "", ""), (0o700, 0, "x", ""), (0o777, 0, "", ""), (0o755, 1, "", "belongs to user 1"),
    (0o777, 0, "x", "mode 0777, so others"), (0o770, 0, "x", "mode 0770, so others"),
])  # fmt: skip
def test_whose_folder_is_taken(tmp_path: Path, mode: int, owner: int, content: str, reason: str) -> None:
    """Another user's folder is refused, and one to which others could write unless it is empty; the rest is closed."""
    folder = tmp_path / "state"
    folder.mkdir()
    if content:
        (folder / content).touch()
    folder.chmod(mode)
    os.chown(folder, owner, -1)
    if reason:
        with pytest.raises(errors.ConfigError, match=reason):
            state_folder.prepare(folder)
        assert folder.stat().st_mode & 0o777 == mode
    else:
        state_folder.prepare(folder)
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_leads_to_the_folder_that_counts(tmp_path: Path) -> None:
    """A state folder behind a symbolic link is closed; a file in its place is refused."""
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("data")
    state_folder.prepare(tmp_path / "link")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(errors.ConfigError, match="File exists"):
        state_folder.prepare(tmp_path / "file")


def test_descriptors_are_raised(make_service: Callable[..., ServiceProcess]) -> None:
    """The service may open as many files as its hard limit allows, whatever the shell's soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        service = make_service()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert service.process
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    assert int(limits.partition("Max open files")[2].split()[0]) == min(hard, 65536)


def test_what_was_half_written_is_swept(make_service: Callable[..., ServiceProcess]) -> None:
    """A start removes what a killed service was writing, and leaves files that are not its own."""
    service = make_service(start=False)
    ours = [service.state / name for name in ("digests/.x.part", "exports/a.new", "exports/.a.lio.part")]
    theirs = [service.state / name for name in ("digests/x.part", "notes.new")]
    for path in ours + theirs:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    service.start()
    assert [path.exists() for path in ours + theirs] == [False, False, False, True, True]
