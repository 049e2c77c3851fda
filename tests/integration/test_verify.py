"""`nbdsvc verify`: digests that follow a volume's bytes, and find what changed behind everybody's back."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backends import COPYING, INSTANT, Backend
from images import MiB, qemu_img, write_extents
from serving import ServiceProcess

from nbdsvc import errors
from nbdsvc.datapath.digests import CHUNK, Digests

LOCAL = {"host": "me", "ip": "127.0.0.1"}
EXTENTS = [(0, 100, 1), (5 * MiB + 123, 3 * MiB, 2), (40 * MiB, 64 << 10, 3)]
FLIPPED = 6 * MiB


@pytest.fixture(params=[COPYING, INSTANT], ids=["copying", "instant"])
def service(
    make_service: Callable[..., ServiceProcess], tmp_path: Path, request: pytest.FixtureRequest
) -> ServiceProcess:
    """A service with an image, on a backend that copies and on one that shares blocks."""
    backend: Backend = request.param
    made = make_service(backend=backend)
    write_extents(tmp_path / "raw", 64 * MiB, EXTENTS)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "-c", tmp_path / "raw", made.state / "images" / "disk.qcow2")
    return made


def create(service: ServiceProcess, noun: str = "volumes", **fields: Any) -> str:
    single = noun.rstrip("s")
    size = {"size": 1} if noun == "volumes" else {}
    made = service.client().post(noun, body={single: {**size, **fields}})[single]
    assert service.wait_status(noun, made["id"]) == "available"
    return str(made["id"])


def verify(service: ServiceProcess, volume: str, **fields: Any) -> str:
    """`found` or the error's message. The volume is available again."""
    client = service.client()
    client.act("volumes", volume, "nbdsvc-verify", fields)
    assert service.wait_status("volumes", volume) == "available"
    ended = client.operation_of(volume)
    assert ended["kind"] == "volume.verify"
    return "found" if ended["state"] == "succeeded" else str(ended["error"]["message"])


def flip(service: ServiceProcess, volume: str, at: int) -> None:
    with service.backend.volume(service.state, volume).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def attach(service: ServiceProcess, volume: str, mode: str) -> str:
    client = service.client()
    fields = {"volume_uuid": volume, "connector": {**LOCAL, "mode": mode}}
    made = client.post("attachments", body={"attachment": fields})["attachment"]
    client.act("attachments", made["id"], "os-complete")
    return str(made["id"])


def test_a_changed_byte_is_found(service: ServiceProcess) -> None:
    """Filled from an image, its snapshots, clones and extensions are proved; one bit is found, with offset and digests."""
    volume = create(service, imageRef="disk.qcow2")
    snapshot = create(service, "snapshots", volume_id=volume)
    others = [create(service, snapshot_id=snapshot, size=2), create(service, source_volid=volume)]
    for each in (volume, *others):
        assert verify(service, each) == "found"
    service.client().act("volumes", others[1], "os-extend", {"new_size": 2})
    assert service.wait_status("volumes", others[1]) == "available"
    for each in (volume, *others):
        flip(service, each, FLIPPED)
        said = verify(service, each)
        assert f"volume {each} at byte {FLIPPED // CHUNK * CHUNK} has checksum" in said
        flip(service, each, FLIPPED)
        assert verify(service, each) == "found"
    service.kill()
    service.start()
    assert verify(service, volume) == "found"


def test_what_a_guest_may_have_written_is_not_judged(service: ServiceProcess) -> None:
    """A read-only attachment leaves the digests, a writable one ends them; recording makes new ones; revert brings back."""
    client, volume = service.client(), create(service, imageRef="disk.qcow2")
    snapshot = create(service, "snapshots", volume_id=volume)
    for mode, expected in (("ro", "found"), ("rw", "nothing to compare")):
        client.delete("attachments", attach(service, volume, mode))
        assert service.wait_status("volumes", volume) == "available"
        assert expected in verify(service, volume)
    assert "nothing to compare" in verify(service, create(service, source_volid=volume))
    flip(service, volume, FLIPPED)
    assert verify(service, volume, record=True) == verify(service, volume) == "found"
    client.act("volumes", volume, "revert", {"snapshot_id": snapshot})
    assert service.wait_status("volumes", volume) == "available"
    assert verify(service, volume) == "found"
    flip(service, volume, FLIPPED)
    assert "has checksum" in verify(service, volume)
    for id in [row["id"] for row in client.get("volumes")["volumes"]]:
        client.delete("volumes", id, cascade=True)
        service.wait_status("volumes", id)
    assert list((service.state / "digests").iterdir()) == []


def test_by_the_command_line(service: ServiceProcess) -> None:
    """`nbdsvc verify` says how much it read, fails with the difference, and refuses a volume in use."""
    volume = create(service, imageRef="disk.qcow2")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": "/usr/bin:/bin",
            "NBDSVC_ENDPOINT": service.url,
            "NBDSVC_TOKEN": "tester:p1",
            "NBDSVC_PROJECT": "p1",
        }
        argv = [sys.executable, "-m", "nbdsvc", "verify", volume, *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)

    assert run().stdout == "1.0 GiB read and found as they were\n"
    assert json.loads(run("--json").stdout)["state"] == "succeeded"
    flip(service, volume, FLIPPED)
    assert run().returncode == 1
    assert "has checksum" in run().stderr
    assert run("--record").stdout == "1.0 GiB read; digests recorded\n"
    attach(service, volume, "ro")
    refused = run()
    assert (refused.returncode, "in-use" in refused.stderr) == (4, True)


def test_an_image_that_is_not_what_its_catalogue_says(service: ServiceProcess) -> None:
    """With SHA512SUMS beside it a right image becomes a volume, and a wrong one an error with both digests."""
    images = service.state / "images"
    right = hashlib.sha512((images / "disk.qcow2").read_bytes()).hexdigest()
    client = service.client()
    for digest, expected in ((right, "available"), ("0" * 128, "error")):
        (images / "SHA512SUMS").write_text(f"{digest}  disk.qcow2\n")
        made = client.post("volumes", body={"volume": {"size": 1, "imageRef": "disk.qcow2"}})["volume"]["id"]
        assert service.wait_status("volumes", made) == expected
        error = client.operation_of(made)["error"]
        assert error is None or f"has checksum {right}, expected {digest}" in error["message"]
        client.delete("volumes", made)
        assert service.wait_status("volumes", made) == "gone"
    assert service.leftovers() == []


@pytest.mark.parametrize("damage", ["cut", "grown", "leaf", "root", "size", "magic", "empty"])
def test_damaged_digests_are_never_believed(tmp_path: Path, damage: str) -> None:
    """Any change of the file of digests is an error of its own, also a size that no file could have."""
    made, path = Digests(3 * CHUNK + 1), tmp_path / "digests"
    made.content[:] = bytes(range(64))
    made.save(path)
    assert Digests.load(path).content == made.content
    stored = bytearray(path.read_bytes())
    places = {"magic": 0, "size": 14, "root": 25, "leaf": len(stored) - 1}
    if damage in places:
        stored[places[damage]] ^= 1
    path.write_bytes({"cut": stored[:-1], "grown": stored + b"x", "empty": b""}.get(damage, stored))
    with pytest.raises(errors.DataError):
        Digests.load(path)
