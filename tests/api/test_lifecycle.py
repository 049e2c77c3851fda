"""The main job over the API, on a real service with real clients."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import export_process
import pytest
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.cli.client import Client

LOCAL = {"host": "me", "initiator": None, "ip": "127.0.0.1"}


def make_volume(service: ServiceProcess, **fields: Any) -> str:
    made = service.client().post("volumes", body={"volume": {"size": 1, **fields}})["volume"]
    assert made["status"] == "creating"
    assert service.wait_status("volumes", made["id"]) == "available"
    return str(made["id"])


def make_snapshot(service: ServiceProcess, volume: str, **fields: Any) -> str:
    made = service.client().post("snapshots", body={"snapshot": {"volume_id": volume, **fields}})["snapshot"]
    assert service.wait_status("snapshots", made["id"]) == "available"
    return str(made["id"])


def connect(client: Client, volume: str, **connector: Any) -> dict[str, Any]:
    fields = {"volume_uuid": volume, "connector": {**LOCAL, **connector}}
    attachment: dict[str, Any] = client.post("attachments", body={"attachment": fields})["attachment"]
    client.act("attachments", attachment["id"], "os-complete")
    return attachment


def qemu_io(uri: str, *commands: str) -> subprocess.CompletedProcess[str]:
    argv = ["qemu-io", "-f", "raw", *(part for command in commands for part in ("-c", command)), uri]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def status(client: Client, volume: str) -> str:
    return str(client.get("volumes", volume)["volume"]["status"])


def write_image(path: Path, disk_format: str = "qcow2") -> bytes:
    """A 64 MiB image with 3 MiB of noise at 1 MiB; returns the noise."""
    noise = os.urandom(3 << 20)
    raw = path.with_suffix(".tmp")
    with raw.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(1 << 20)
        file.write(noise)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", disk_format, *(["-c"] if disk_format == "qcow2" else []),
                    str(raw), str(path)], check=True)  # fmt: skip
    raw.unlink()
    return noise


def read(uri: str, offset: int, length: int, tmp_path: Path) -> bytes:
    out = tmp_path / "out.raw"
    subprocess.run(["nbdcopy", uri, str(out)], check=True, timeout=60)
    with out.open("rb") as file:
        file.seek(offset)
        return file.read(length)


@pytest.mark.row("S023", "S074")
@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
def test_a_volume_of_an_image_is_the_image(service: ServiceProcess, tmp_path: Path, disk_format: str) -> None:
    """It has the image's bytes, is bootable, and shows which image it was made of."""
    noise = write_image(service.state / "images" / f"base.{disk_format}", disk_format)
    volume, client = make_volume(service, imageRef=f"base.{disk_format}"), service.client()
    shown = client.get("volumes", volume)["volume"]
    facts = shown["volume_image_metadata"]
    assert (shown["bootable"], facts["disk_format"], facts["image_name"]) == (
        "true",
        disk_format,
        f"base.{disk_format}",
    )
    uri = connect(client, volume)["connection_info"]["uri"]
    assert hashlib.sha256(read(uri, 1 << 20, 3 << 20, tmp_path)).digest() == hashlib.sha256(noise).digest()


@pytest.mark.row("S002")
def test_data_outlives_its_user(service: ServiceProcess, tmp_path: Path) -> None:
    """What one user wrote, who went away and reaches it no more, the next one reads."""
    volume, client = make_volume(service), service.client()
    first = connect(client, volume)
    assert qemu_io(first["connection_info"]["uri"], "write -P 171 40M 1M", "flush").returncode == 0
    client.delete("attachments", first["id"])
    assert qemu_io(first["connection_info"]["uri"], "read 0 512").returncode != 0
    second = connect(client, volume, host="me", initiator="iqn.other")
    assert read(second["connection_info"]["uri"], 40 << 20, 1 << 20, tmp_path) == b"\xab" * (1 << 20)


@pytest.mark.row("S001", "S004")
def test_a_volume_from_its_creation_to_its_end(service: ServiceProcess) -> None:
    """A service without further settings creates, attaches, detaches and deletes it; nothing of it stays."""
    volume, client = make_volume(service), service.client()
    attached = connect(client, volume)
    assert status(client, volume) == "in-use"
    client.delete("attachments", attached["id"])
    assert status(client, volume) == "available"
    client.delete("volumes", volume)
    assert service.wait_status("volumes", volume) == "gone"
    assert service.leftovers() == []


@pytest.mark.row("S023", "S025", "S026", "S024", "S094")
def test_snapshots_and_clones_are_independent(service: ServiceProcess, tmp_path: Path) -> None:
    """A snapshot, a volume of it and a clone keep their bytes while the origin changes; cascade removes all snapshots."""
    client = service.client()
    origin = make_volume(service)
    with_old = connect(client, origin)
    assert qemu_io(with_old["connection_info"]["uri"], "write -P 1 0 1M", "flush").returncode == 0
    client.delete("attachments", with_old["id"])
    snapshot = make_snapshot(service, origin, name="s")
    assert client.get("snapshots", snapshot)["snapshot"]["os-extended-snapshot-attributes:progress"] == "100%"
    clone = make_volume(service, source_volid=origin)
    changed = connect(client, origin)
    assert qemu_io(changed["connection_info"]["uri"], "write -P 2 0 1M", "flush").returncode == 0
    client.delete("attachments", changed["id"])
    restored = make_volume(service, snapshot_id=snapshot, size=2)
    for volume, pattern in ((clone, 1), (restored, 1), (origin, 2)):
        attachment = connect(client, volume)
        assert read(attachment["connection_info"]["uri"], 0, 1 << 20, tmp_path) == bytes([pattern]) * (1 << 20)
        client.delete("attachments", attachment["id"])
    with pytest.raises(errors.RequestError, match="1 snapshots"):
        client.delete("volumes", origin)
    client.delete("volumes", origin, cascade=True)
    assert service.wait_status("volumes", origin) == "gone"
    assert service.wait_status("snapshots", snapshot) == "gone"
    assert service.leftovers() == []


@pytest.mark.row("S092", "S049")
def test_extend_while_in_use(service: ServiceProcess) -> None:
    """A volume grows while attached; a client that connects afterwards sees the new size and zeros."""
    client, volume = service.client(), make_volume(service)
    attachment = connect(client, volume)
    client.act("volumes", volume, "os-extend", {"new_size": 2})
    assert service.wait_status("volumes", volume) == "in-use"
    size = subprocess.run(["nbdinfo", "--size", attachment["connection_info"]["uri"]], capture_output=True, text=True)
    assert int(size.stdout) == 2 << 30
    assert qemu_io(attachment["connection_info"]["uri"], "read -P 0 1G 1M").returncode == 0


@pytest.mark.row("S024")
def test_delete_is_refused_while_attached(service: ServiceProcess) -> None:
    """An attached volume cannot be deleted; nothing about it changes by the attempt."""
    client, volume = service.client(), make_volume(service)
    connect(client, volume)
    with pytest.raises(errors.RequestError, match="in-use"):
        client.delete("volumes", volume)
    assert status(client, volume) == "in-use"


@pytest.mark.row("S027", "S028", "S029", "S030", "S073", "S031")
def test_legacy_attach_and_detach(service: ServiceProcess) -> None:
    """The volume actions reserve, connect, attach, terminate and detach as older clients and Terraform do."""
    client, volume = service.client(), make_volume(service)
    client.act("volumes", volume, "os-reserve")
    assert status(client, volume) == "attaching"
    info = client.act("volumes", volume, "os-initialize_connection", {"connector": LOCAL})["connection_info"]
    assert info["driver_volume_type"] == "nbd"
    assert info["data"]["access_mode"] == "rw"
    assert json.dumps(info)
    assert qemu_io(info["data"]["uri"], "read 0 512").returncode == 0
    instance = "11111111-1111-4111-8111-111111111111"
    for _ in range(2):  # to add the same user again is no error
        client.act("volumes", volume, "os-attach", {"instance_uuid": instance, "mountpoint": "/dev/vdb"})
    shown = client.get("volumes", volume)["volume"]
    assert (shown["status"], shown["attachments"][0]["server_id"]) == ("in-use", instance)
    with pytest.raises(errors.RequestError):
        client.act("volumes", volume, "os-attach", {"host_name": "other", "mountpoint": "/dev/vdb"})
    client.act("volumes", volume, "os-begin_detaching")
    assert status(client, volume) == "detaching"
    client.act("volumes", volume, "os-roll_detaching")
    client.act("volumes", volume, "os-terminate_connection", {"connector": LOCAL})
    assert qemu_io(info["data"]["uri"], "read 0 512").returncode != 0
    client.act("volumes", volume, "os-detach", {})
    assert status(client, volume) == "available"
    client.act("volumes", volume, "os-unreserve")
    assert status(client, volume) == "available"
    assert service.leftovers() == []


@pytest.mark.row("S027")
def test_read_only_volume_refuses_writers(service: ServiceProcess) -> None:
    """A read-only volume is not attached for writing, and its export refuses writes."""
    client, volume = service.client(), make_volume(service)
    client.act("volumes", volume, "os-update_readonly_flag", {"readonly": True})
    with pytest.raises(errors.RequestError, match="read-only"):
        client.act("volumes", volume, "os-attach", {"host_name": "h", "mountpoint": "/dev/vdb", "mode": "rw"})
    client.act("volumes", volume, "os-reset_status", {"status": "available"})
    fields = {"volume_uuid": volume, "connector": {**LOCAL, "mode": "ro"}}
    info = client.post("attachments", body={"attachment": fields})["attachment"]["connection_info"]
    assert info["access_mode"] == "ro"
    assert "Permission denied" in qemu_io(info["uri"], "write 0 512").stderr


@pytest.mark.row("S027", "S028")
def test_multiattach_by_type(service: ServiceProcess) -> None:
    """Only a volume whose type says so is attached twice; each detach ends only its own access."""
    client = service.client()
    specs = {"multiattach": "<is> True"}
    client.post("types", body={"volume_type": {"name": "multi", "extra_specs": specs}})
    single, multi = make_volume(service), make_volume(service, volume_type="multi")
    connect(client, single)
    with pytest.raises(errors.RequestError, match="in-use"):
        connect(client, single)
    one, two = connect(client, multi), connect(client, multi, host="me", initiator="iqn.b")
    assert qemu_io(one["connection_info"]["uri"], "write -P 9 0 64k", "flush").returncode == 0
    left = client.delete("attachments", one["id"])["attachments"]
    assert [row["id"] for row in left] == [two["id"]]
    assert qemu_io(one["connection_info"]["uri"], "read 0 512").returncode != 0
    assert qemu_io(two["connection_info"]["uri"], "read -P 9 0 64k").returncode == 0
    assert status(client, multi) == "in-use"


@pytest.mark.row("S032", "S074", "S075")
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_upload_makes_an_image_of_a_volume(service: ServiceProcess, tmp_path: Path, disk_format: str) -> None:
    """An uploaded image makes a volume with the same bytes; the source is available again."""
    client, volume = service.client(), make_volume(service)
    attachment = connect(client, volume)
    qemu_io(attachment["connection_info"]["uri"], "write -P 5 7M 2M", "flush")
    client.delete("attachments", attachment["id"])
    fields = {"image_name": "made", "disk_format": disk_format}
    made = client.act("volumes", volume, "os-volume_upload_image", fields)["os-volume_upload_image"]
    assert made["status"] == "uploading"
    assert service.wait_status("volumes", volume) == "available"
    copy = make_volume(service, imageRef=made["image_id"])
    attachment = connect(client, copy)
    assert read(attachment["connection_info"]["uri"], 7 << 20, 2 << 20, tmp_path) == b"\5" * (2 << 20)
    if disk_format == "qcow2":
        path = next((service.state / "images").glob("*.data"))
        subprocess.run(["qemu-img", "check", "-f", "qcow2", str(path)], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.row("S032")
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_folders_by_relative_paths(
    make_service: Callable[..., ServiceProcess], tmp_path: Path, disk_format: str
) -> None:
    """A pool and an image folder that are given by relative paths serve an upload, a copy of it, and its export."""
    folders = {name: os.path.relpath(tmp_path / name) for name in ("pool", "images")}
    service = make_service(nbd_listen="127.0.0.1", **folders)
    client, volume = service.client(), make_volume(service)
    with (tmp_path / "pool" / "volumes" / f"volume-{volume}").open("r+b") as file:
        file.write(b"\5" * 4096)
    fields = {"image_name": "made", "disk_format": disk_format}
    image = client.act("volumes", volume, "os-volume_upload_image", fields)["os-volume_upload_image"]["image_id"]
    assert service.wait_status("volumes", volume) == "available"
    attachment = connect(client, make_volume(service, imageRef=image))
    assert read(attachment["connection_info"]["uri"], 0, 8192, tmp_path) == b"\5" * 4096 + bytes(4096)


@pytest.mark.row("S032")
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_failed_upload_leaves_no_image(make_service: Callable[..., ServiceProcess], disk_format: str) -> None:
    """A cancelled upload brings the volume back and leaves nothing of the image."""
    service = make_service(nbd_listen="127.0.0.1")
    client, volume = service.client(), make_volume(service)
    path = service.state / "pool" / "volumes" / f"volume-{volume}"
    with path.open("r+b") as file:
        for _ in range(600):
            file.write(os.urandom(1 << 20))
    client.act("volumes", volume, "os-volume_upload_image", {"image_name": "x", "disk_format": disk_format})
    operation = client.operation_of(volume)
    client.act("operations", operation["id"], "cancel")
    assert service.wait_status("volumes", volume) == "available"
    assert client.operation_of(volume)["state"] == "cancelled"
    assert list((service.state / "images").iterdir()) == []


@pytest.mark.row("S008", "S067")
def test_remote_connector_gets_tls_over_tcp(make_service: Callable[..., ServiceProcess], tmp_path: Path) -> None:
    """An initiator on another host gets a TCP address and a key of its own; without the key no byte can be read."""
    service = make_service(nbd_listen="127.0.0.1", nbd_first_port=21810, nbd_last_port=21850)
    client, volume = service.client(), make_volume(service)
    info = connect(client, volume, host="elsewhere")["connection_info"]
    assert (info["tls"], info["host"]) == (True, "127.0.0.1")
    key = tmp_path / "psk"
    key.write_text(f"{info['tls_psk_username']}:{info['tls_psk_key']}\n")
    good = subprocess.run(["nbdinfo", "--size", f"{info['uri']}?tls-psk-file={key}"], capture_output=True, text=True)
    assert good.stdout.strip() == str(1 << 30)
    plain = info["uri"].replace("nbds://", "nbd://")
    assert subprocess.run(["nbdinfo", "--size", plain], capture_output=True).returncode != 0
    _no_secret_anywhere(service, info["tls_psk_key"])
    listed = service.client().get("attachments", "detail")["attachments"]
    assert listed[0]["connection_info"]["uri"] == info["uri"]
    assert info["tls_psk_key"] not in str(listed)


def _no_secret_anywhere(service: ServiceProcess, secret: str) -> None:
    assert secret not in service.log.read_text()
    for path in service.state.rglob("log"):
        assert secret not in path.read_text()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert secret.encode() not in path.read_bytes()
        except OSError:
            continue
    assert secret not in json.dumps(service.client().get("operations", all_tenants=1))


def test_concurrent_requests_on_one_volume_leave_one_winner(service: ServiceProcess) -> None:
    """Of many extends and a delete at the same moment each is done whole or refused; the row ends settled."""
    client, volume = service.client(), make_volume(service)
    outcomes: list[str] = []

    def attempt(index: int) -> None:
        try:
            if index == 0:
                client.delete("volumes", volume)
            else:
                client.act("volumes", volume, "os-extend", {"new_size": 1 + index})
            outcomes.append("accepted")
        except errors.RequestError:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8
    assert "accepted" in outcomes
    service.settle()
    assert service.wait_status("volumes", volume) in ("available", "gone")
    assert service.leftovers() == []


@pytest.mark.row("S021", "S068")
def test_lost_export_is_repaired(service: ServiceProcess) -> None:
    """An export whose server was killed comes back by itself, with every acknowledged and flushed write."""
    client, volume = service.client(), make_volume(service)
    attachment = connect(client, volume)
    uri = attachment["connection_info"]["uri"]
    assert qemu_io(uri, "write -P 3 0 1M", "flush").returncode == 0
    export_process.killer(service.state, attachment["id"])()
    wait_until(lambda: qemu_io(uri, "read -P 3 0 1M").returncode == 0)


@pytest.mark.row("S021")
def test_exports_outlive_the_service(service: ServiceProcess) -> None:
    """Reads and writes go on while the service is down, and after it is up again."""
    client, volume = service.client(), make_volume(service)
    uri = connect(client, volume)["connection_info"]["uri"]
    service.kill()
    assert qemu_io(uri, "write -P 4 0 64k", "flush").returncode == 0
    service.start()
    assert qemu_io(uri, "read -P 4 0 64k").returncode == 0
    assert status(service.client(), volume) == "in-use"
