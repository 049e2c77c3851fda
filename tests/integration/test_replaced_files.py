"""What takes the place of a volume's file: it is not served, copied or written, and the volume can be deleted all the same."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from exporting import Exports
from serving import ServiceProcess

from nbdsvc import errors

LOCAL = {"host": "me", "ip": "127.0.0.1"}


def replace(path: Path, kind: str, target: Path) -> None:
    path.unlink()
    if kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_replaced_volume_is_not_used(make_service: Callable[..., ServiceProcess], tmp_path: Path, kind: str) -> None:
    """Attach, snapshot, clone and extension of it fail with a message; the file that the link names keeps its bytes."""
    service = make_service()
    client = service.client()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", volume) == "available"
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 4096)
    replace(service.state / "pool" / "volumes" / f"volume-{volume}", kind, secret)
    with pytest.raises(errors.Error):
        client.post("attachments", body={"attachment": {"volume_uuid": volume, "connector": LOCAL}})
    for attachment in client.get("attachments")["attachments"]:
        client.delete("attachments", attachment["id"])
    clone = client.post("volumes", body={"volume": {"source_volid": volume}})["volume"]["id"]
    assert service.wait_status("volumes", clone) == "error"
    client.act("volumes", volume, "os-extend", {"new_size": 2})
    assert service.wait_status("volumes", volume) == "error_extending"
    assert secret.read_bytes() == b"s" * 4096


def test_a_link_is_not_served_by_a_server_that_runs(exports: Exports, tmp_path: Path) -> None:
    """Who connects after the file was replaced gets an error, and none of the bytes behind the link."""
    import nbd

    spec, uri = exports.up(read_only=True)
    (tmp_path / "secret").write_bytes(b"s" * (1 << 20))
    replace(exports.path, "link", tmp_path / "secret")
    client = nbd.NBD()
    with pytest.raises(nbd.Error):
        client.connect_uri(uri)
    assert exports.exporter.health(spec.id).ok
