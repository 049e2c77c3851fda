"""The command line against a real service: attach as a block device, tables and JSON, exit statuses."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import export_process
import pytest
from serving import ServiceProcess

from nbdsvc import errors, process
from nbdsvc.cli import attach
from nbdsvc.connectors.attachment_store import size_of
from nbdsvc.connectors.fuse_loop import FuseLoop
from nbdsvc.connectors.host import HostConnector


def nbdsvc(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NBDSVC_ENDPOINT": service.url, "NBDSVC_PROJECT": "p1"}
    argv = [sys.executable, "-m", "nbdsvc", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment)


def test_verbs_print_tables_and_json(service: ServiceProcess) -> None:
    """create, list, show, extend, snapshot, upload, operation, delete; JSON for programs."""
    made = json.loads(nbdsvc(service, "volume", "create", "1", "--name", "one", "--metadata", "a=b", "--json").stdout)
    assert (made["status"], made["metadata"]) == ("available", {"a": "b"})
    assert "one" in nbdsvc(service, "volume", "list").stdout
    assert nbdsvc(service, "volume", "extend", "one", "2").returncode == 0
    assert "2" in nbdsvc(service, "volume", "show", "one").stdout
    assert nbdsvc(service, "snapshot", "create", "one", "--name", "s").returncode == 0
    image = nbdsvc(service, "volume", "upload", "one", "img").stdout.strip()
    assert nbdsvc(service, "volume", "create", "2", "--image", image).returncode == 0
    kinds = {row["kind"] for row in json.loads(nbdsvc(service, "operation", "list", "--json").stdout)}
    assert {"volume.create", "volume.extend", "snapshot.create", "volume.upload"} <= kinds
    assert nbdsvc(service, "volume", "delete", "one", "--cascade").returncode == 0
    assert "complete" in nbdsvc(service, "completion", "bash").stdout
    assert json.loads(nbdsvc(service, "show-config").stdout)["port"] == 8776


def test_exit_statuses_say_whose_fault_it_is(service: ServiceProcess) -> None:
    """3 not found, 4 refused, 5 no answer, 2 wrong usage; always one readable line."""
    for arguments, status in (
        (("volume", "show", "nothing"), 3),
        (("volume", "create"), 4),
        (("volume", "frobnicate"), 2),
    ):
        done = nbdsvc(service, *arguments)
        assert done.returncode == status, done.stderr
        assert done.stderr.strip()
        assert "Traceback" not in done.stderr
    service.stop()
    assert nbdsvc(service, "volume", "list").returncode == 5


@pytest.mark.row("S001", "S073")
@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_attach_as_a_block_device(make_service: Callable[..., ServiceProcess], tmp_path: Path, transport: str) -> None:
    """By a unix socket or TCP with TLS: mkfs, mount, write; detach is refused while mounted; attached again the file is
    there; nothing stays behind.
    """
    service = make_service(nbd_listen="127.0.0.1")
    client, connector = service.client(), HostConnector(tmp_path / "attached")
    volume: dict[str, Any] = client.post("volumes", body={"volume": {"size": 1}})["volume"]
    service.wait_status("volumes", volume["id"])
    # "me" is the name of this host in the service under test.
    described = {"host": "me", "ip": "127.0.0.1", "nbd_transport": transport}
    connector.describe = lambda: described  # type: ignore[method-assign]
    mounted = tmp_path / "mnt"
    mounted.mkdir()
    for visit in range(2):
        attached = attach.attach_here(client, connector, volume["id"], "rw")
        assert attach.attach_here(client, connector, volume["id"], "rw") == attached
        assert client.get("volumes", volume["id"])["volume"]["status"] == "in-use"
        if visit == 0:
            subprocess.run(["mkfs.ext4", "-q", attached.device], check=True)
        subprocess.run(["mount", attached.device, str(mounted)], check=True)
        if visit == 0:
            (mounted / "file").write_text("here")
        assert (mounted / "file").read_text() == "here"
        with pytest.raises(errors.DeviceBusy, match=f"mounted on {mounted}"):
            attach.detach_here(client, connector, attached)
        subprocess.run(["umount", str(mounted)], check=True)
        attach.detach_here(client, connector, attached)
        assert client.get("volumes", volume["id"])["volume"]["status"] == "available"
        assert not Path(f"/sys/class/block/{Path(attached.device).name}/loop/backing_file").exists()
        assert list((tmp_path / "attached").iterdir()) == []
    assert service.leftovers() == []


def test_an_extended_volume_and_its_device(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """The device has the new size when the verb ends, also while it is mounted; attachments elsewhere are spoken of."""
    service = make_service(host=socket.gethostname(), nbd_listen="127.0.0.1")
    id = json.loads(nbdsvc(service, "volume", "create", "1", "--json").stdout)["id"]
    made = json.loads(nbdsvc(service, "attach", id, "--json").stdout)
    try:
        refused = nbdsvc(service, "attach", id, "--read-only")
        assert (refused.returncode, "with mode rw" in refused.stderr) == (4, True), refused.stderr
        assert size_of(made["device"]) == 1 << 30
        subprocess.run(["mkfs.ext4", "-q", made["device"]], check=True)
        with mounted(made["device"], tmp_path / "mounted") as folder:
            (folder / "file").write_bytes(os.urandom(1 << 20))
            said = nbdsvc(service, "volume", "extend", id, "4")
            assert (said.returncode, said.stderr) == (0, ""), said.stderr
            assert size_of(made["device"]) == 4 << 30
            fd = os.open(made["device"], os.O_RDWR)
            os.pwrite(fd, b"the end", (4 << 30) - 7)
            os.fsync(fd)
            os.close(fd)
    finally:
        assert nbdsvc(service, "detach", id).returncode == 0
    client = service.client()
    connector = {"connector": {"host": "elsewhere", "ip": "127.0.0.1"}, "volume_uuid": id}
    elsewhere = client.post("attachments", body={"attachment": connector})["attachment"]["id"]
    client.act("attachments", elsewhere, "os-complete")
    assert "on elsewhere: a device over NBD grows" in nbdsvc(service, "volume", "extend", id, "5").stderr


def test_a_device_over_tls_grows(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """Through an nbdkit between, with the key in its file, as another host has it."""
    service = make_service(nbd_listen="127.0.0.1")
    client, connector = service.client(), HostConnector(tmp_path / "attached", transports=[FuseLoop(process.Runner())])
    connector.describe = lambda: {"host": "me", "ip": "127.0.0.1", "nbd_transport": "tcp"}  # type: ignore[method-assign]
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    attached = attach.attach_here(client, connector, volume, "rw")
    try:
        client.act("volumes", volume, "os-extend", {"new_size": 2})
        assert connector.await_growth(attached, 2 << 30) == ""
    finally:
        attach.detach_here(client, connector, attached)
    assert service.leftovers() == []


def test_options_of_another_client_are_refused(service: ServiceProcess, tmp_path: Path) -> None:
    """--connections where FUSE attaches: a refusal, and nothing stays reserved."""
    transports = [FuseLoop(process.Runner())]
    client, connector = service.client(), HostConnector(tmp_path / "attached", transports=transports, connections=2)
    connector.describe = lambda: {"host": "me", "ip": "127.0.0.1"}  # type: ignore[method-assign]
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    with pytest.raises(errors.Unsupported, match="--connections"):
        attach.attach_here(client, connector, volume, "rw")
    assert client.get("volumes", volume)["volume"]["status"] == "available"


def test_the_api_on_an_ipv6_address(make_service: Callable[..., ServiceProcess]) -> None:
    """The URL that the service prints has brackets, and the command line uses it as it is."""
    service = make_service(listen="::1")
    assert re.fullmatch(r"http://\[::1\]:\d+/v3", service.url)
    assert nbdsvc(service, "volume", "list").returncode == 0


@contextlib.contextmanager
def mounted(device: str, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", device, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_detach_when_the_server_is_gone(service: ServiceProcess, tmp_path: Path) -> None:
    """A device whose server was killed is detached, by force where a flush fails; nothing stays behind."""
    client, connector = service.client(), HostConnector(tmp_path / "attached", transports=[FuseLoop(process.Runner())])
    connector.describe = lambda: {"host": "me", "ip": "127.0.0.1"}  # type: ignore[method-assign]
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    attached = attach.attach_here(client, connector, volume, "rw")
    with Path(attached.device).open("r+b", buffering=0) as device:
        export_process.killer(service.state, attached.attachment_id)()
        device.write(bytes(4096))  # the bytes are in the page cache only
        with pytest.raises(errors.WriteFailed, match="--force"):
            connector.detach(attached)
    attach.detach_here(client, connector, attached, force=True)
    assert connector.all() == []
    assert not Path(f"/sys/class/block/{Path(attached.device).name}/loop/backing_file").exists()
    assert client.get("volumes", volume)["volume"]["status"] == "available"


def test_a_device_whose_mount_is_gone_is_detached(service: ServiceProcess, tmp_path: Path) -> None:
    """nbdfuse has ended, and its mount with it: a detach still takes down what is left, and the record goes."""
    client, connector = service.client(), HostConnector(tmp_path / "attached", transports=[FuseLoop(process.Runner())])
    connector.describe = lambda: {"host": "me", "ip": "127.0.0.1"}  # type: ignore[method-assign]
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    service.wait_status("volumes", volume)
    attached = attach.attach_here(client, connector, volume, "rw")
    subprocess.run(["losetup", "--detach", attached.device], check=True)
    subprocess.run(["fusermount3", "-u", attached.details["mountpoint"]], check=True)
    # Its loop device is free, and another test's by now, perhaps: the record names one that there is not.
    connector.detach(replace(attached, device="/dev/loop-gone"), force=True)
    assert connector.all() == []
