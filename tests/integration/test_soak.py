"""Random jobs for as long as wanted: bytes are always right, and a service that worked is as small as one that did not.

NBDSVC_SOAK_MINUTES (`make soak MINUTES=30`) and NBDSVC_SOAK_SEED; without them half a minute.
"""

import hashlib
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from backends import INSTANT
from images import KiB, MiB, qemu_img, write_extents
from serving import ServiceProcess

from nbdsvc import errors

MINUTES = float(os.environ.get("NBDSVC_SOAK_MINUTES", "0.5"))
SEED = int(os.environ.get("NBDSVC_SOAK_SEED", "0")) or random.randrange(1 << 32)
WORKERS = 3
LOCAL = {"host": "me", "ip": "127.0.0.1"}
FORMATS = {
    "raw": [],
    "qcow2": [],
    "zlib.qcow2": ["-c"],
    "zstd.qcow2": ["-c", "-o", "compression_type=zstd"],
    "vmdk": [],
    "vdi": [],
}
# What an allocator keeps of a copy's buffers; a leak of one buffer a job would be more after a minute. Connections to the
# database come and go by load; a leak of one descriptor a job would be a hundred in half a minute.
GROWTH_MIB, GROWTH_DESCRIPTORS, GROWTH_THREADS = 64, 16, 8


class Disk:
    """An image in several formats, and the digest of what it reads as."""

    def __init__(self, folder: Path, images: Path, dice: random.Random, number: int) -> None:
        size = dice.randrange(8, 96) * MiB
        extents = [(dice.randrange(size), dice.randrange(1, 8 * MiB), dice.randrange(256)) for _ in range(12)]
        self.size = size
        self.digest = hashlib.sha256(write_extents(folder / "raw", size, extents)).hexdigest()
        self.names = [f"{number}.{suffix}" for suffix in FORMATS]
        for suffix, options in FORMATS.items():
            target = images / f"{number}.{suffix}"
            qemu_img("convert", "-f", "raw", "-O", suffix.rpartition(".")[2], *options, folder / "raw", target)


class Job:
    """One worker's random jobs, each of which ends with nothing of its own left, but for a volume or two."""

    def __init__(self, service: ServiceProcess, disks: list[Disk], seed: int, done: Counter[str]) -> None:
        self.service, self.client, self.disks, self.done = service, service.client(), disks, done
        self.dice = random.Random(seed)

    def run(self, until: float) -> None:
        jobs = [
            self.clone,
            self.snapshot_and_revert,
            self.upload,
            self.attach,
            self.cancelled,
            self.limited,
            self.verify,
        ]
        while time.monotonic() < until:
            disk = self.dice.choice(self.disks)
            volume = self.create(disk, imageRef=self.dice.choice(disk.names))
            for job in self.dice.sample(jobs, 3):
                job(volume, disk)
                self.done[job.__name__] += 1
            self.delete(volume)

    def create(self, disk: Disk, **fields: Any) -> str:
        made = self.client.post("volumes", body={"volume": {"size": 1, **fields}})["volume"]["id"]
        assert self.service.wait_status("volumes", made) == "available", (
            fields,
            self.client.operation_of(made)["error"],
        )
        self.check(str(made), disk)
        self.done["create"] += 1
        return str(made)

    def check(self, volume: str, disk: Disk) -> None:
        with self.service.backend.volume(self.service.state, volume).open("rb") as file:
            found = hashlib.sha256(file.read(disk.size)).hexdigest()
            assert not file.read(MiB).strip(b"\0")
        assert found == disk.digest
        self.done["MiB checked"] += disk.size // MiB

    def delete(self, volume: str) -> None:
        self.client.delete("volumes", volume, cascade=True)
        assert self.service.wait_status("volumes", volume) == "gone"

    def clone(self, volume: str, disk: Disk) -> None:
        self.delete(self.create(disk, source_volid=volume))

    def snapshot_and_revert(self, volume: str, disk: Disk) -> None:
        made = self.client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
        assert self.service.wait_status("snapshots", made) == "available"
        with self.service.backend.volume(self.service.state, volume).open("r+b") as file:
            file.write(self.dice.randbytes(300 * KiB))
        self.client.act("volumes", volume, "revert", {"snapshot_id": made})
        assert self.service.wait_status("volumes", volume) == "available"
        self.check(volume, disk)
        self.delete(self.create(disk, snapshot_id=made))
        self.client.delete("snapshots", made)
        assert self.service.wait_status("snapshots", made) == "gone"

    def upload(self, volume: str, disk: Disk) -> None:
        fields = {"image_name": "soak", "disk_format": self.dice.choice(["raw", "qcow2"])}
        image = self.client.act("volumes", volume, "os-volume_upload_image", fields)["os-volume_upload_image"][
            "image_id"
        ]
        assert self.service.wait_status("volumes", volume) == "available"
        self.delete(self.create(disk, imageRef=image))
        for path in (self.service.state / "images").glob(f"{image}*"):
            path.unlink()

    def attach(self, volume: str, disk: Disk) -> None:
        fields = {"volume_uuid": volume, "connector": LOCAL}
        made = self.client.post("attachments", body={"attachment": fields})["attachment"]
        self.client.act("attachments", made["id"], "os-complete")
        read = ["qemu-img", "dd", "-f", "raw", "-O", "raw", "bs=1M", f"count={disk.size // MiB}"]
        copy = self.service.state.parent / f"read-{volume}"
        uri = self.client.get("attachments", made["id"])["attachment"]["connection_info"]["uri"]
        subprocess.run([*read, f"if={uri}", f"of={copy}"], check=True, capture_output=True, timeout=60)
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == disk.digest
        copy.unlink()
        self.client.delete("attachments", made["id"])
        assert self.service.wait_status("volumes", volume) == "available"

    def cancelled(self, _volume: str, disk: Disk) -> None:
        made = self.client.post("volumes", body={"volume": {"size": 1, "imageRef": self.dice.choice(disk.names)}})
        id = made["volume"]["id"]
        time.sleep(self.dice.uniform(0, 0.1))
        try:
            self.client.act("operations", self.client.operation_of(id)["id"], "cancel")
        except errors.Error:
            self.done["too late to cancel"] += 1
        assert self.service.wait_status("volumes", id) in ("available", "error")
        self.delete(id)

    def limited(self, _volume: str, disk: Disk) -> None:
        made = self.client.post("volumes", body={"volume": {"size": 1, "imageRef": self.dice.choice(disk.names)}})
        id = made["volume"]["id"]
        for rate in (8 * MiB, 64 * MiB, 0):
            try:
                self.client.act("operations", self.client.operation_of(id)["id"], "limit", {"rate": rate})
            except errors.Error:
                self.done["too late to limit"] += 1
            time.sleep(0.2)
        assert self.service.wait_status("volumes", id) == "available"
        self.check(id, disk)
        self.delete(id)

    def verify(self, volume: str, _disk: Disk) -> None:
        self.client.act("volumes", volume, "nbdsvc-verify", {"record": True})
        assert self.service.wait_status("volumes", volume) == "available"
        self.client.act("volumes", volume, "nbdsvc-verify", {})
        assert self.service.wait_status("volumes", volume) == "available"
        ended = self.client.operation_of(volume)
        assert (ended["kind"], ended["state"]) == ("volume.verify", "succeeded"), ended


def used(service: ServiceProcess) -> dict[str, int]:
    """What the service holds: resident MiB, open descriptors, threads, children."""
    assert service.process
    proc = Path(f"/proc/{service.process.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    children = (proc / "task" / proc.name / "children").read_text().split()
    return {"MiB": int(status["VmRSS"].split()[0]) // 1024, "descriptors": len(list((proc / "fd").iterdir())),
            "threads": int(status["Threads"]), "children": len(children)}  # fmt: skip


@contextmanager
def workers(
    service: ServiceProcess, disks: list[Disk], done: Counter[str], seconds: float, seed: int
) -> Iterator[None]:
    """Jobs on several threads meanwhile; what went wrong in one of them is raised at the end."""
    until, wrong = time.monotonic() + seconds, list[BaseException]()

    def work(number: int) -> None:
        try:
            Job(service, disks, seed + number, done).run(until)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if wrong:
        raise wrong[0]


@pytest.mark.timeout(MINUTES * 60 + 600)
@pytest.mark.row("S074", "S075")
def test_random_jobs_leave_nothing(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """Create from every format, clone, snapshot, revert, upload, attach, cancel, limit, verify: three at a time."""
    service = make_service(backend=INSTANT)
    dice = random.Random(SEED)
    disks = [Disk(tmp_path, service.state / "images", dice, number) for number in range(3)]
    with workers(service, disks, Counter(), 15, SEED):
        pass  # after this, every thread pool, cache and arena has its final size
    service.settle()
    began, before, done = time.monotonic(), used(service), Counter[str]()
    with workers(service, disks, done, MINUTES * 60, SEED + WORKERS):
        while (left := began + MINUTES * 60 - time.monotonic()) > 0:
            time.sleep(min(60, left))
            print(f"{(time.monotonic() - began) / 60:.1f} min: {done['create']} volumes, {used(service)}", flush=True)
    service.settle()
    time.sleep(6)  # the server closes idle connections after five seconds
    after = used(service)
    print(
        f"seed {SEED}, {(time.monotonic() - began) / 60:.1f} minutes, {dict(done)}; at start {before}, at end {after}"
    )
    assert service.leftovers() == []
    assert service.client().get("volumes")["volumes"] == []
    assert after["descriptors"] <= before["descriptors"] + GROWTH_DESCRIPTORS
    assert after["threads"] <= before["threads"] + GROWTH_THREADS
    assert after["children"] == 0
    assert after["MiB"] <= before["MiB"] + GROWTH_MIB
