"""Glance as source and target of volumes: a real Glance behind a real Keystone, and the service as their user."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from glance_scene import MIB, Scene, make_scene, pattern, user_file, wait_for
from glance_server import Glance
from keystone_server import Keystone
from postgres import Postgres
from serving import ServiceProcess

Make = Callable[..., ServiceProcess]


@pytest.fixture(scope="module")
def scene(module_service: Make, keystone: Keystone, glance: Glance, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("user")
    return make_scene(module_service, keystone, glance, folder, "glance", image_spool=2 << 30)


@pytest.mark.row("S023", "S074")
def test_a_volume_has_the_bytes_and_what_is_known_of_the_image(scene: Scene) -> None:
    """Bootable, with Glance's attributes and properties as volume_image_metadata, which its actions change."""
    content = pattern(5)
    image = scene.image(content, name="plain", os_distro="debian", min_disk=1, min_ram=64)
    volume = scene.create(image)
    assert scene.wait(volume) == "available", scene.why(volume)
    assert scene.begins_with(volume, content)
    shown, there = scene.shown(volume), scene.in_glance(image)
    assert there
    assert shown["bootable"] == "true"
    assert shown["volume_image_metadata"] == {
        "image_id": image, "image_name": "plain", "os_distro": "debian", "min_disk": "1", "min_ram": "64",
        "disk_format": "raw", "container_format": "bare", "size": str(len(content)), "checksum": there["checksum"],
    }  # fmt: skip
    scene.act(volume, "os-set_image_metadata", metadata={"hw_disk_bus": "virtio"})
    scene.act(volume, "os-unset_image_metadata", key="os_distro")
    found = scene.act(volume, "os-show_image_metadata")["metadata"]
    assert (found["hw_disk_bus"], "os_distro" in found) == ("virtio", False)


@pytest.mark.row("S074")
@pytest.mark.parametrize("disk_format", ["qcow2", "iso", "vmdk"])
def test_other_formats(scene: Scene, tmp_path: Path, disk_format: str) -> None:
    """A qcow2 by its tables, a CD as the disk that it is, what qemu reads by the spool."""
    content = pattern(3)
    content = content[: 32 << 10] + b"\1CD001\1" + content[(32 << 10) + 7 :]
    raw = tmp_path / "raw"
    raw.write_bytes(content)
    if disk_format != "iso":
        made = tmp_path / "made"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", disk_format, str(raw), str(made)], check=True)
        raw = made
    volume = scene.create(scene.image(raw.read_bytes(), disk_format=disk_format))
    assert scene.wait(volume) == "available", scene.why(volume)
    assert scene.begins_with(volume, content)
    assert scene.shown(volume)["volume_image_metadata"]["disk_format"] == disk_format


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"min_disk": 2}, "min_disk is 2 GiB"),
    ({"container_format": "docker"}, "container_format is docker"),
    ({"disk_format": "ploop"}, "disk_format is ploop"),
    ({"cinder_encryption_key_id": "k"}, "encrypted"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_an_image_that_is_none_for_it_is_400_at_once(scene: Scene, fields: dict[str, Any], reason: str) -> None:
    """With the field and the reason, before there is a volume."""
    body = {"volume": {"size": 1, "imageRef": scene.image(b"x" * 512, **fields)}}
    status, content = scene.ask("POST", "volumes", body)
    assert (status, reason in str(content), "imageRef" in str(content)) == (400, True, True), content


def test_an_image_that_is_not_active_is_400(scene: Scene) -> None:
    """Queued, or deactivated by its administrator; reimage refuses it alike."""
    queued, off = scene.new_image(), scene.image(b"x" * 512)
    admin = scene.keystone.token("admin", project="admin")
    assert scene.ask_glance("POST", f"images/{off}/actions/deactivate", token=admin).status == 204
    volume = scene.written(b"")
    for image, reason in ((queued, "status is queued"), (off, "deactivated")):
        for path, body in (
            ("volumes", {"volume": {"size": 1, "imageRef": image}}),
            (f"volumes/{volume}/action", {"os-reimage": {"image_id": image}}),
        ):
            status, content = scene.ask("POST", path, body)
            assert (status, reason in str(content)) == (400, True), content
    scene.ask_glance("DELETE", f"images/{queued}")


def test_what_a_project_sees_is_what_glance_shows_it(scene: Scene) -> None:
    """By the request's own token: another project's image is not there, until it is a member; a bad token is 401."""
    image = scene.image(b"x" * 512, visibility="shared")
    project, token = scene.keystone.projects["other"], scene.keystone.token("neighbour", project="other")

    def status(token: str = token, reference: str = image) -> int:
        body = {"volume": {"size": 1, "imageRef": reference}}
        return scene.ask("POST", "volumes", body, token=token, project=project)[0]

    assert status() == 404
    assert scene.ask_glance("POST", f"images/{image}/members", {"member": project}).status == 200
    assert status() == 202
    assert status(token="x" * 200) == 401
    assert [status(reference=each) for each in (str(uuid.uuid4()), "a name")] == [404, 404]


def test_without_a_token_of_keystones_the_same_rules_hold(
    make_service: Make, keystone: Keystone, glance: Glance, tmp_path: Path
) -> None:
    """Tokens of our own say the project only: its images, public ones and those that are shared with it."""
    tokens = tmp_path / "tokens.toml"
    tokens.touch(0o600)
    ids = {name: keystone.projects[name] for name in ("demo", "other")}
    tokens.write_text(
        "".join(f'[tokens.{name}]\ntoken = "{name}-0123456789abcdef"\nproject = "{id}"\n' for name, id in ids.items())
    )
    scene = make_scene(make_service, keystone, glance, tmp_path, auth="token", tokens_file=tokens)
    image = scene.image(b"x" * 512)
    body = {"volume": {"size": 1, "imageRef": image}}

    def status(name: str) -> int:
        return scene.ask("POST", "volumes", body, token=f"{name}-0123456789abcdef", project=ids[name])[0]

    assert (status("demo"), status("other")) == (202, 404)
    scene.ask_glance("POST", f"images/{image}/members", {"member": ids["other"]})
    assert status("other") == 202


@pytest.mark.row("S032", "S074")
def test_an_upload_makes_a_whole_image(scene: Scene) -> None:
    """With the volume's bytes, the properties of its image, and what the request says; owned by the project."""
    content = pattern(4)
    volume = scene.written(content)
    scene.act(volume, "os-set_image_metadata", metadata={"os_distro": "debian", "image_id": "old", "size": "1"})
    image = scene.upload(volume, image_name="out", visibility="shared", protected=True)
    assert scene.wait(volume) == "available"
    assert scene.why(volume) == ""
    found = scene.in_glance(image)
    assert found
    assert {key: found.get(key) for key in ("status", "name", "owner", "visibility", "protected", "disk_format", "os_distro")} == {
        "status": "active", "name": "out", "owner": scene.project, "visibility": "shared", "protected": True,
        "disk_format": "qcow2", "os_distro": "debian",
    }  # fmt: skip
    copy = scene.create(image)
    assert scene.wait(copy) == "available", scene.why(copy)
    assert scene.begins_with(copy, content)
    assert not list(scene.service.state.glob("journals/*"))


@pytest.mark.row("S032", "S074")
def test_a_raw_upload_is_sent_as_it_is_read(scene: Scene) -> None:
    """Without a copy on disk: all the volume's bytes."""
    content = pattern(2)
    volume = scene.written(content)
    image = scene.upload(volume, disk_format="raw")
    assert scene.wait(volume, 180) == "available"
    found = scene.in_glance(image)
    assert found
    assert (found["status"], found["size"], scene.operation(volume)["state"]) == ("active", 1 << 30, "succeeded")
    with (scene.glance.server.folder / "images" / image).open("rb") as file:
        assert file.read(len(content)) == content
    scene.ask_glance("DELETE", f"images/{image}")


@pytest.mark.row("S032")
def test_a_cancelled_upload_leaves_no_image(make_service: Make, scene: Scene, tmp_path: Path) -> None:
    """The volume is available again, and Glance has nothing of it."""
    slow = make_scene(make_service, scene.keystone, scene.glance, tmp_path, copy_rate=MIB)
    volume = slow.written(pattern(2))
    image = slow.upload(volume, disk_format="raw")
    wait_for(lambda: slow.operation(volume)["progress"]["done"] > 0)
    found = slow.in_glance(image)
    assert found
    assert found["status"] in ("queued", "saving")
    slow.ask("POST", f"operations/{slow.operation(volume)['id']}/action", {"cancel": {}})
    assert slow.wait(volume) == "available"
    assert slow.operation(volume)["state"] == "cancelled"
    assert slow.in_glance(image) is None


def test_a_qcow2_needs_room_where_it_is_made(make_service: Make, scene: Scene, tmp_path: Path) -> None:
    """Refused at once with the field, where the operator allows less than the volume has."""
    small = make_scene(make_service, scene.keystone, scene.glance, tmp_path)
    volume = small.written(b"")
    action = {"os-volume_upload_image": {"image_name": "i", "disk_format": "qcow2"}}
    status, content = small.ask("POST", f"volumes/{volume}/action", action)
    assert (status, "image_spool" in str(content)) == (400, True), content
    assert small.shown(volume)["status"] == "available"


def test_reimage(scene: Scene) -> None:
    """The volume gets the image's bytes and metadata."""
    content = pattern(2)
    image, volume = scene.image(content, name="newer"), scene.written(pattern(3))
    scene.act(volume, "os-reimage", image_id=image)
    assert scene.wait(volume) == "available", scene.why(volume)
    assert scene.begins_with(volume, content)
    assert scene.shown(volume)["volume_image_metadata"]["image_name"] == "newer"


def test_our_own_list_of_images_says_where_they_are(scene: Scene) -> None:
    """/images is of the image folder, which there is none of."""
    status, content = scene.ask("GET", "images")
    assert (status, "image service" in str(content)) == (400, True)


def test_no_token_is_in_the_database_or_the_log(scene: Scene) -> None:
    """Neither the user's nor the service's, nor the service user's password."""
    volume = scene.create(scene.image(b"x" * 512))
    assert scene.wait(volume) == "available"
    kept = b"".join(path.read_bytes() for path in scene.service.state.glob("nbdsvc.db*") if path.is_file())
    for text in (scene.token.encode(), b"gAAAA", b"of-tests-only"):
        assert text not in kept
        assert text not in scene.service.log.read_bytes()


def test_a_process_that_only_answers_requests_finds_the_image_too(
    make_service: Make, postgres: Postgres, scene: Scene, tmp_path: Path
) -> None:
    """It refuses with Glance's reason at once; a host reads and sends the bytes."""
    given = {
        "image_service": "glance",
        "glance_user_file": user_file(tmp_path, scene.keystone.url),
        "image_spool": 2 << 30,
    }
    database = postgres.database()
    host = make_service("h", start=False, driver="memory", database=database, **given)
    api = make_service("f", start=False, driver="memory", database=database, **given)
    host.role, api.role = "host", "api"
    host.start()
    pair = Scene(api.start(), scene.keystone, scene.glance)
    content = pattern(2)
    status, answer = pair.ask("POST", "volumes", {"volume": {"size": 1, "imageRef": pair.image(content, min_disk=2)}})
    assert (status, "min_disk" in str(answer)) == (400, True), answer
    volume = pair.create(pair.image(content))
    assert pair.wait(volume) == "available", pair.why(volume)
    image = pair.upload(volume)
    assert pair.wait(volume) == "available", pair.why(volume)
    found = pair.in_glance(image)
    assert found
    assert found["status"] == "active"


def test_the_openstack_command(scene: Scene, tmp_path: Path) -> None:
    """`openstack volume create --image` and `openstack image create --volume`, by Keystone's catalogue."""
    scene.keystone.register("block-storage", "nbdsvc", f"{scene.service.url}/%(project_id)s")
    image = scene.image(pattern(1), name="for the command")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    environment = {**inherited, **scene.keystone.client_environment("member")}

    def run(*arguments: str) -> str:
        argv = [str(Path(sys.executable).parent / "openstack"), *arguments, "-f", "value", "-c"]
        column = "image_id" if arguments[0] == "image" else "id"
        done = subprocess.run([*argv, column], capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    volume = run("volume", "create", "--image", image, "--size", "1", "from the command")
    assert scene.wait(volume) == "available", scene.why(volume)
    made = run("image", "create", "--volume", volume, "--disk-format", "qcow2", "to the command")
    assert scene.wait(volume) == "available"
    found = scene.in_glance(made)
    assert found
    assert (found["status"], found["name"]) == ("active", "to the command")
