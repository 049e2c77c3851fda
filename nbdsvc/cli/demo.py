"""`nbdsvc demo`: the main job from end to end, on real images, devices and clients, in a folder of its own."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from nbdsvc import errors, process
from nbdsvc.cli import attach, show
from nbdsvc.cli.client import Client
from nbdsvc.connectors.attachment_store import Attached
from nbdsvc.connectors.host import HostConnector
from nbdsvc.polling import wait_until

FILES = 3000
# A start takes a second on real hardware, and most of a minute on an emulated machine.
READY_SECONDS = 120
# Large enough that the copy takes seconds on a fast disk, and can be killed in the middle.
LONG_COPY_MIB = 3000


@click.command()
@click.option("--keep", is_flag=True, help="Leave the folder and the service as they are at the end.")
def demo(keep: bool) -> None:
    """Show the main job from end to end on this machine."""
    if os.geteuid() != 0:
        raise errors.Forbidden(reason="the demo mounts block devices, which needs root: try sudo")
    folder = Path(tempfile.mkdtemp(prefix="nbdsvc-demo-", dir="/var/tmp"))
    story = _Story(folder)
    try:
        story.tell()
    finally:
        story.end(keep)


class _Story:
    """The demo's state: one service, one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service: subprocess.Popen[bytes] | None = None
        self._runner = process.Runner()
        self._connector = HostConnector(folder / "attached")
        self._client = Client()
        self._starts: list[str] = []
        self._began = time.monotonic()

    def tell(self) -> None:
        self._start_service()
        hashes = self._make_image()
        volume = self._create_from_image()
        new = self._first_user(volume, hashes)
        self._second_user(volume, hashes | new)
        self._snapshot(volume)
        self._survive_kill()
        self._what_next(volume)

    def end(self, keep: bool) -> None:
        """Everything is taken down again, also after a failure."""
        if keep:
            self._say(f"kept: {self._folder}")
            return
        for attached in self._connector.all():
            self._connector.detach(attached)
        if self._service and self._service.poll() is None:
            if self._starts:
                self._remove_exports()
            self._service.terminate()
            self._service.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _say(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._began:5.1f} s] {text}")

    def _start_service(self) -> None:
        log = self._folder / "service.log"
        with log.open("ab") as output:
            argv = [sys.executable, "-m", "nbdsvc", "serve", "--state-dir", str(self._folder / "state"), "--port", "0"]
            self._service = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        service, before = self._service, len(self._starts)
        wait_until(lambda: service.poll() is not None or len(_starts(log)) > before, READY_SECONDS)
        self._starts = _starts(log)
        if len(self._starts) == before:
            raise errors.BackendUnavailable(backend="service", reason=log.read_text()[-500:])
        self._client = Client(self._starts[-1], "demo:demo", "demo")
        self._say(f"service is up: {self._starts[-1]} (SQLite, sparse files)")

    def _make_image(self) -> dict[str, str]:
        """A compressed qcow2 of an ext4 file system with some thousand files of this machine."""
        tree, raw = self._folder / "tree", self._folder / "image.raw"
        hashes = _collect(tree, FILES)
        raw.touch()
        os.truncate(raw, 1 << 30)
        self._runner.run(["mkfs.ext4", "-q", "-d", str(tree), str(raw)], timeout=120)
        image = self._folder / "state" / "images" / "demo.qcow2"
        self._runner.run(
            ["qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(image)], timeout=300
        )
        raw.unlink()
        shutil.rmtree(tree)
        self._say(f"image: {len(hashes)} files in ext4 in a compressed qcow2 of {image.stat().st_size >> 20} MiB")
        return hashes

    def _create_from_image(self) -> str:
        body = {"size": 2, "name": "demo", "imageRef": "demo.qcow2"}
        volume = str(self._client.post("volumes", body={"volume": body})["volume"]["id"])
        show.follow(self._client, volume, quiet=False)
        self._say(f"volume {volume} created from the image")
        return volume

    def _first_user(self, volume: str, hashes: dict[str, str]) -> dict[str, str]:
        attached = attach.attach_here(self._client, self._connector, volume, "rw")
        self._say(f"first user: attached as {attached.device} ({attached.kind})")
        with self._mounted(attached.device) as mounted:
            _verify(mounted, hashes)
            self._say(f"first user: all {len(hashes)} sha256 sums are right")
            content = os.urandom(8 << 20)
            (mounted / "written-by-first-user").write_bytes(content)
            self._say("first user: detach is refused while it is mounted: " + self._refusal(attached))
        attach.detach_here(self._client, self._connector, attached)
        self._say("first user: wrote 8 MiB more, detached, is gone")
        return {"written-by-first-user": hashlib.sha256(content).hexdigest()}

    def _refusal(self, attached: Attached) -> str:
        try:
            self._connector.detach(attached)
        except errors.DeviceBusy as error:
            return str(error)
        raise errors.InternalError(reason="a mounted device was detached")

    def _second_user(self, volume: str, hashes: dict[str, str]) -> None:
        """A different client: libnbd's nbdcopy reads the whole volume, and the file system is read from its copy."""
        body = {"volume_uuid": volume, "connector": self._connector.describe() | {"mode": "ro"}}
        attachment = self._client.post("attachments", body={"attachment": body})["attachment"]
        self._client.act("attachments", attachment["id"], "os-complete")
        copy = self._folder / "copy.raw"
        self._runner.run(["nbdcopy", attachment["connection_info"]["uri"], str(copy)], timeout=120)
        device = self._runner.run(["losetup", "--find", "--show", "--read-only", str(copy)]).stdout.strip()
        try:
            with self._mounted(device, "ro,noload") as mounted:
                _verify(mounted, hashes)
        finally:
            self._runner.run(["losetup", "--detach", device])
        copy.unlink()
        self._client.delete("attachments", attachment["id"])
        self._say(f"second user: read all through libnbd; {len(hashes)} sums are right, old and new")

    def _snapshot(self, volume: str) -> None:
        snapshot = str(self._client.post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"])
        show.follow(self._client, snapshot, quiet=False)
        body = {"name": "from-snapshot", "snapshot_id": snapshot}
        made = str(self._client.post("volumes", body={"volume": body})["volume"]["id"])
        show.follow(self._client, made, quiet=False)
        self._client.act("volumes", made, "os-extend", {"new_size": 3})
        show.follow(self._client, made, quiet=False)
        self._say(f"snapshot taken, volume {made} made of it and extended to 3 GiB")

    def _survive_kill(self) -> None:
        """SIGKILL in the middle of a long copy; the next start goes on with it."""
        image = self._folder / "state" / "images" / "long.raw"
        with image.open("wb") as file:
            block = os.urandom(1 << 20)
            for index in range(LONG_COPY_MIB):
                file.write(index.to_bytes(8, "big") + block[8:])
        body = {"size": 4, "name": "long", "imageRef": "long.raw"}
        volume = str(self._client.post("volumes", body={"volume": body})["volume"]["id"])
        before = self._until_copying(volume)
        assert self._service
        self._service.send_signal(signal.SIGKILL)
        self._service.wait()
        self._say(f"service killed (SIGKILL) with {before >> 20} MiB of the copy done")
        self._start_service()
        operation = show.follow(self._client, volume, quiet=False)
        status = self._client.get("volumes", volume)["volume"]["status"]
        self._say(f"the copy was resumed (attempt {operation['attempts']}): the volume is {status}")
        self._client.delete("volumes", volume)
        show.follow(self._client, volume, quiet=True)

    def _until_copying(self, volume: str) -> int:
        def begun() -> dict[str, Any] | None:
            operation = self._client.operation_of(volume)
            return operation if operation["progress"]["done"] or operation["finished_at"] else None

        operation = wait_until(begun, READY_SECONDS)
        return int(operation["progress"]["done"]) if operation else 0

    def _what_next(self, volume: str) -> None:
        body = {"volume_uuid": volume, "connector": self._connector.describe()}
        attachment = self._client.post("attachments", body={"attachment": body})["attachment"]
        info = attachment["connection_info"]
        disk = (
            "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
            f"<source protocol='nbd' name='{info['export']}'>"
            f"<host transport='unix' socket='{info['unix_socket']}'/></source><target dev='vdb' bus='virtio'/></disk>"
        )
        server = {"type": "unix", "path": info["unix_socket"]}
        node = {"driver": "nbd", "node-name": "nbdsvc0", "server": server, "export": info["export"]}
        self._say("what you would use next:")
        click.echo(f"  NBD URI    {info['uri']}")
        click.echo(f"  QEMU       -blockdev '{json.dumps(node)}' -device virtio-blk-pci,drive=nbdsvc0")
        click.echo(f"  libvirt    {disk}")
        endpoint = self._starts[-1]
        click.echo(f"  cinder     OS_AUTH_TYPE=noauth CINDER_ENDPOINT={endpoint} OS_PROJECT_ID=demo cinder list")
        click.echo(f"  openstack  openstack --os-auth-type none --os-endpoint {endpoint} volume list")
        click.echo("  for keeps  nbdsvc serve")
        self._client.delete("attachments", attachment["id"])
        self._say("done")

    @contextmanager
    def _mounted(self, device: str, options: str = "rw") -> Iterator[Path]:
        mounted = self._folder / "mnt"
        mounted.mkdir(exist_ok=True)
        self._runner.run(["mount", "-t", "ext4", "-o", options, device, str(mounted)])
        try:
            yield mounted
        finally:
            self._runner.run(["umount", str(mounted)])

    def _remove_exports(self) -> None:
        for attachment in self._client.get("attachments")["attachments"]:
            self._client.delete("attachments", attachment["id"])


def _starts(log: Path) -> list[str]:
    """URLs at which the service has been ready, one a start."""
    return [line.rpartition(" ")[2] for line in log.read_text().splitlines() if "ready on " in line]


def _collect(tree: Path, count: int) -> dict[str, str]:
    """Real files of this machine below `tree`; their sha256 by path."""
    hashes: dict[str, str] = {}
    for path in sorted(Path("/usr").rglob("*.py")) + sorted(Path("/usr/share").rglob("*")):
        if len(hashes) >= count:
            break
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        target = tree / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        target.write_bytes(content)
        hashes[str(path.relative_to("/"))] = hashlib.sha256(content).hexdigest()
    return hashes


def _verify(mounted: Path, hashes: dict[str, str]) -> None:
    for name, expected in hashes.items():
        actual = hashlib.sha256((mounted / name).read_bytes()).hexdigest()
        if actual != expected:
            raise errors.ChecksumMismatch(source=name, expected=expected, actual=actual)
