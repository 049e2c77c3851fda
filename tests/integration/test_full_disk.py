"""The file system of the state folder at its end, on a small one: what ends something goes on, what adds is refused."""

import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.store.database import Database
from nbdsvc.store.reserve import Reserve
from nbdsvc.units import MiB

# A volume of 1 GiB may be promised on 32 MiB.
FILE = {"driver": "file", "driver_options": "max_over_subscription_ratio = 1000.0"}


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB, under a short name because socket paths are limited."""
    folder, image = Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp")), tmp_path / "image"
    if request.param == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], check=True)
    else:
        image.touch()
        os.truncate(image, 32 * MiB)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder)


def fill(folder: Path) -> Path:
    """A file that takes all that is left; its path."""
    path = folder / "filler"
    with path.open("ab") as file:
        for size in (1 << 20, 1 << 16, 1 << 12):
            try:
                while True:
                    os.write(file.fileno(), bytes(size))
            except OSError:
                continue
    return path


def _metrics(service: ServiceProcess) -> str:
    with urllib.request.urlopen(service.url.removesuffix("/v3") + "/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def test_a_full_state_folder(make_service: Callable[..., ServiceProcess], small: Path) -> None:
    """Full while a volume is attached: detach, a kill, a start and delete work; creates name the folder, until there is room."""
    service = make_service(start=False, database_reserve=4 * MiB, **FILE)
    service.state = small / "s"
    client = service.start().client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    fields = {"volume_uuid": volume, "connector": {"host": "me"}}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    wait_until((service.state / "nbdsvc.db.reserve").exists)
    # Stopped, or a commit in between would give up the reserve early, and the filler would take that, too.
    assert service.process
    service.process.send_signal(signal.SIGSTOP)
    filler = fill(small)
    service.process.send_signal(signal.SIGCONT)
    with pytest.raises(errors.Error, match=f"{service.state} has no room"):
        client.post("volumes", body={"volume": {"size": 1}})
    client.delete("attachments", attachment)
    assert not (service.state / "exports" / attachment).exists()
    service.kill()
    client = service.start().client()
    assert client.get("volumes", volume)["volume"]["status"] == "available"
    wait_until(lambda: "state folder" in (client.get("os-services")["services"][0]["disabled_reason"] or ""))
    assert 'nbdsvc_host_lacks{host="me",thing="state folder"} 1.0' in _metrics(service)
    client.delete("volumes", volume)
    assert service.wait_status("volumes", volume) == "gone"
    filler.unlink()
    wait_until((service.state / "nbdsvc.db.reserve").exists)
    wait_until(lambda: client.get("os-services")["services"][0]["disabled_reason"] is None)
    made = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    service.stop()
    service.end_exports()


def test_a_full_pool_serves_what_is_in_it(make_service: Callable[..., ServiceProcess], small: Path) -> None:
    """A pool without a free block at start: the service starts, its volume is attached, read and deleted."""
    service = make_service(pool=small / "pool", **FILE)
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    service.kill()
    fill(small)
    client = service.start().client()
    fields = {"volume_uuid": volume, "connector": {"host": "me"}}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    client.delete("attachments", attachment)
    with pytest.raises(errors.Error, match="No valid backend"):
        client.post("volumes", body={"volume": {"size": 1}})
    client.delete("volumes", volume)
    assert service.wait_status("volumes", volume) == "gone"


def test_a_host_without_images_says_so(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """An images folder that cannot be made is a finding, not the end of the service."""
    (tmp_path / "file").touch()
    service = make_service(images=tmp_path / "file" / "images")
    client = service.client()
    assert "images folder" in client.get("os-services")["services"][0]["disabled_reason"]
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", volume) == "available"


def test_the_reserve_is_given_up_and_made_again(small: Path) -> None:
    """Room for the reserve and as much again makes it; a quarter of its size free gives it up; a full disk keeps commits."""
    database = Database(str(small / "x.db"), 4 * MiB)
    reserve = Reserve(small / "x.db", 4 * MiB)
    with database.write() as conn:
        conn.exec_driver_sql("CREATE TABLE t (x)")
    assert reserve.keep()
    assert not reserve.short()
    filler = fill(small)
    assert reserve.short()
    for _ in range(50):
        with database.write() as conn:
            conn.exec_driver_sql("INSERT INTO t VALUES (randomblob(10000))")
    assert not reserve.path.exists()
    assert not reserve.keep()
    filler.unlink()
    assert reserve.keep()
    database.close()
