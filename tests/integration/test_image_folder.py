"""The image folder: whose images are whose, what is no image, and names that are no paths."""

import contextlib
import json
import os
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import ask
from images import MiB, qemu_img
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.images.image_store import Image, ImageFolder
from nbdsvc.images.resolve import Images
from nbdsvc.model.context import ADMIN, MEMBER, Context

TOKENS = {"a": ("p1", "member"), "b": ("p2", "member"), "root": ("admin", "admin")}


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    """Two projects and an administrator, by their tokens; few images for each."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        tokens = Path(folder) / "tokens.toml"
        tokens.write_text(
            "".join(
                f'[tokens.{n}]\ntoken = "{n:x<20}"\nproject = "{p}"\nroles = ["{r}"]\n' for n, (p, r) in TOKENS.items()
            )
        )
        tokens.chmod(0o600)
        made = ServiceProcess(Path(folder), auth="token", tokens_file=tokens, quota_images=3, quota_image_gigabytes=9)
        yield made.start()
        made.stop()


def request(
    service: ServiceProcess, who: str, method: str, path: str, body: object = None
) -> tuple[int, dict[str, object]]:
    status, content, _ = ask(
        service, method, path, body, X_Auth_Token=f"{who:x<20}", OpenStack_API_Version="volume 3.44"
    )
    return status, content


def volume(service: ServiceProcess, who: str, **fields: object) -> dict[str, object]:
    """The volume's row, when it has come to rest."""
    status, made = request(service, who, "POST", "/v3/volumes", {"volume": {"size": 1, **fields}})
    assert status == 202, made
    id = made["volume"]["id"]  # type: ignore[index]

    def row() -> dict[str, object]:
        return request(service, who, "GET", f"/v3/volumes/{id}")[1]["volume"]  # type: ignore[return-value]

    wait_until(lambda: row()["status"] in ("available", "error"))
    return row()


def upload(service: ServiceProcess, who: str, name: str, **more: object) -> tuple[int, dict[str, object]]:
    made = volume(service, who)
    action = {"os-volume_upload_image": {"image_name": name, **more}}
    status, reply = request(service, who, "POST", f"/v3/volumes/{made['id']}/action", action)
    if status == 202:
        index = service.state / "images" / f"{reply['os-volume_upload_image']['image_id']}.json"  # type: ignore[index]
        wait_until(lambda: index.exists() and json.loads(index.read_text())["status"] == "active")
    return status, reply


def test_an_uploaded_image_belongs_to_its_project(service: ServiceProcess) -> None:
    """By id and by name it is there for its project and an administrator; for others it does not exist."""
    status, reply = upload(service, "a", "mine")
    assert status == 202
    id = reply["os-volume_upload_image"]["image_id"]  # type: ignore[index]
    for reference in (id, "mine"):
        assert volume(service, "a", imageRef=reference)["status"] == "available"
        refused = request(service, "b", "POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": reference}})
        nowhere = request(service, "b", "POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": str(uuid.uuid4())}})
        assert refused[0] == nowhere[0] == 404
    assert volume(service, "root", imageRef=id)["status"] == "available"
    assert upload(service, "b", "mine")[0] == 202  # names of images are separate for each project
    assert volume(service, "b", imageRef="mine")["status"] == "available"
    assert volume(service, "a", imageRef="mine")["status"] == "available"


def test_a_public_image_is_an_administrators(service: ServiceProcess) -> None:
    """A member may not make one; one that an administrator made, or put into the folder, is for everybody."""
    assert upload(service, "b", "for all", visibility="public")[0] == 403
    assert upload(service, "root", "for all", visibility="public")[0] == 202
    assert volume(service, "a", imageRef="for all")["status"] == "available"
    (service.state / "images" / "dropped.raw").write_bytes(os.urandom(MiB))
    assert volume(service, "b", imageRef="dropped.raw")["status"] == "available"


def test_uploads_count_against_a_quota(service: ServiceProcess) -> None:
    """The fourth image of a project is 413 with the numbers; another project's are not counted."""
    outcomes = [upload(service, "b", f"many{index}")[0] for index in range(4)]
    assert outcomes.count(413) >= 1
    refused = upload(service, "b", "one more")
    assert (refused[0], "images" in str(refused[1])) == (413, True)


def test_a_project_removes_its_own_images(service: ServiceProcess) -> None:
    """Others get 404, public and protected ones are an administrator's; what is removed frees the quota."""
    id = upload(service, "a", "to go")[1]["os-volume_upload_image"]["image_id"]  # type: ignore[index]
    kept = upload(service, "a", "kept", protected=True)[1]["os-volume_upload_image"]["image_id"]  # type: ignore[index]
    path = f"/v3/images/{id}"
    assert request(service, "b", "DELETE", path)[0] == 404
    assert request(service, "a", "DELETE", f"/v3/images/{kept}")[0] == 403
    listed = request(service, "a", "GET", "/v3/images")[1]["images"]
    assert {id, kept} <= {image["id"] for image in listed}  # type: ignore[index, attr-defined]
    assert request(service, "a", "DELETE", path)[0] == 204
    assert request(service, "a", "DELETE", path)[0] == 404
    assert not list((service.state / "images").glob(f"{id}*"))
    assert request(service, "root", "DELETE", f"/v3/images/{kept}")[0] == 204


def test_a_project_shares_its_image(service: ServiceProcess) -> None:
    """With the members that it names, by the image's id; other projects still find nothing, with the words for no image."""
    id = upload(service, "a", "to share")[1]["os-volume_upload_image"]["image_id"]  # type: ignore[index]
    path = f"/v3/images/{id}"
    member = TOKENS["b"][0]
    unknown = request(service, "b", "GET", f"/v3/images/{uuid.UUID(int=1)}")
    hidden = request(service, "b", "GET", path)
    assert str(hidden).replace(id, "X") == str(unknown).replace(str(uuid.UUID(int=1)), "X") and hidden[0] == 404
    assert request(service, "b", "PUT", path, {"image": {"members": [member], "visibility": "shared"}})[0] == 404
    changed = request(service, "a", "PUT", path, {"image": {"visibility": "shared", "members": [member]}})
    assert changed[1]["image"]["members"] == [member]
    shown = request(service, "b", "GET", path)[1]["image"]
    assert shown["visibility"] == "shared" and "members" not in shown
    assert id in {image["id"] for image in request(service, "b", "GET", "/v3/images")[1]["images"]}
    assert request(service, "b", "GET", "/v3/images/to%20share")[0] == 404
    assert volume(service, "b", imageRef=id)["status"] == "available"
    assert request(service, "b", "DELETE", path)[0] == 403
    assert request(service, "a", "PUT", path, {"image": {"members": []}})[0] == 200
    assert request(service, "b", "GET", path)[0] == 404
    assert request(service, "a", "DELETE", path)[0] == 204


def test_a_project_protects_its_image(service: ServiceProcess) -> None:
    """It cannot be deleted until its protection ends; only an administrator makes it public; a dropped file stays as it is."""
    id = upload(service, "a", "to keep")[1]["os-volume_upload_image"]["image_id"]  # type: ignore[index]
    path = f"/v3/images/{id}"
    assert request(service, "a", "PUT", path, {"image": {"protected": True, "name": "kept by a"}})[0] == 200
    assert request(service, "a", "DELETE", path)[0] == 403
    assert request(service, "a", "PUT", path, {"image": {"members": ["x"] * 101}})[0] == 400
    assert request(service, "a", "PUT", path, {"image": {"visibility": "public"}})[0] == 403
    assert request(service, "root", "PUT", path, {"image": {"visibility": "public"}})[0] == 200
    assert request(service, "b", "GET", "/v3/images/kept%20by%20a")[1]["image"]["id"] == id
    assert request(service, "b", "PUT", path, {"image": {"name": "mine"}})[0] == 403
    assert request(service, "a", "PUT", path, {"image": {"protected": False}})[0] == 200
    assert request(service, "a", "DELETE", path)[0] == 204
    (service.state / "images" / "plain.raw").write_bytes(bytes(4096))
    assert request(service, "root", "PUT", "/v3/images/plain.raw", {"image": {"name": "x"}})[0] == 403


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_an_image_is_imported_as_the_projects_own(service: ServiceProcess, tmp_path: Path, disk_format: str) -> None:
    """It has the bytes of the disk that the reference names, and counts against the quota; a name of no image is refused."""
    source, name = service.state / "images" / f"source-{disk_format}.qcow2", f"imported {disk_format}"
    (tmp_path / "disk").write_bytes(content := os.urandom(MiB))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "disk", source)
    wanted = {"imageRef": source.name, "name": name, "disk_format": disk_format}
    status, made = request(service, "a", "POST", "/v3/images", {"image": wanted})
    assert status == 202, made
    path = f"/v3/images/{made['image']['id']}"  # type: ignore[index]
    wait_until(lambda: request(service, "a", "GET", path)[0] == 200)
    shown = request(service, "a", "GET", path)[1]["image"]
    assert (shown["name"], shown["visibility"], shown["owner"]) == (name, "private", "p1")  # type: ignore[index]
    assert request(service, "b", "GET", path)[0] == 404
    found = volume(service, "a", imageRef=made["image"]["id"])  # type: ignore[index]
    with (service.state / "pool" / "volumes" / f"volume-{found['id']}").open("rb") as file:
        assert file.read(MiB) == content
    unknown = {**wanted, "imageRef": str(uuid.UUID(int=1))}
    assert request(service, "a", "POST", "/v3/images", {"image": unknown})[0] == 404
    assert request(service, "a", "POST", "/v3/images", {"image": {**wanted, "visibility": "public"}})[0] == 403
    assert request(service, "a", "DELETE", path)[0] == 204


def test_an_index_of_a_newer_version_is_passed_over(tmp_path: Path) -> None:
    """It may mean that fewer projects may use the image; what an older version wrote, without one, is read."""
    folder, images = ImageFolder(tmp_path), {}
    for version in (None, 1, 2):
        id = str(uuid.uuid4())
        image = Image(id=id, name=str(version))
        folder.begin(image).write_bytes(bytes(512))
        folder.commit(image)
        index = json.loads((tmp_path / f"{id}.json").read_text())
        assert index.pop("version") == 1
        images[version] = id
        (tmp_path / f"{id}.json").write_text(json.dumps(index if version is None else {**index, "version": version}))
    assert {image.id for image in folder.list()} == {images[None], images[1]}


def test_what_the_service_keeps_is_no_image(tmp_path: Path) -> None:
    """A path below the state folder or the pool is refused, also where a folder above them is allowed."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "nbdsvc.db").write_bytes(bytes(512))
    (tmp_path / "free.raw").write_bytes(bytes(512))
    images = Images(ImageFolder(tmp_path / "i"), [tmp_path], kept=[tmp_path / "state"])
    images.open(str(tmp_path / "free.raw")).source.close()
    with pytest.raises(errors.InvalidInput, match="the service keeps"):
        images.open(str(tmp_path / "state" / "nbdsvc.db"))


def test_a_name_of_an_index_is_no_path(tmp_path: Path) -> None:
    """An index whose data is gone is passed over, whatever its name names; so is one whose data is a link."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 512)
    folder = ImageFolder(tmp_path / "images")
    for name in (str(secret), "../secret"):
        image = Image(id=str(uuid.uuid4()), name=name, disk_format="raw", project_id="p1")
        folder.begin(image).write_bytes(b"x" * 512)
        folder.commit(image)
        data = tmp_path / "images" / f"{image.id}.data"
        data.unlink()
        with pytest.raises(errors.NotFound):
            Images(folder).open(image.id, Context("p1", "u", frozenset({MEMBER}), ""))
        data.symlink_to(secret)
        with pytest.raises(errors.NotFound):
            Images(folder).open(image.id, Context("p1", "u", frozenset({ADMIN}), ""))


def test_foreign_files_are_passed_over(tmp_path: Path) -> None:
    """Of whatever kind they are, they neither end a listing nor hold it up, and what is an image is listed."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "good.raw").write_bytes(b"x" * 512)
    for name, content in (
        ("debian-12.json", '{"kind":"Image"}'), ("list.json", "[1]"), ("empty.json", ""), ("deep.json", "[" * 100000),
        (f"{uuid.uuid4()}.json", '{"kind":"Image"}'), (f"{uuid.uuid4()}.json", "null"),
    ):  # fmt: skip
        (folder / name).write_text(content)
    newer = Image(id=str(uuid.uuid4()), name="newer", disk_format="raw")
    (folder / f"{newer.id}.data").write_bytes(b"y" * 512)
    (folder / f"{newer.id}.json").write_text(
        json.dumps({"id": newer.id, "name": "newer", "status": "active", "later": 1})
    )
    (folder / "x.json").mkdir()
    (folder / "x.qcow2").mkdir()
    (folder / "loop.json").symlink_to(folder / "loop.json")
    (folder / "loop.raw").symlink_to(folder / "loop.raw")
    os.mkfifo(folder / "f.json")
    os.mkfifo(folder / f"{uuid.uuid4()}.json")
    os.mkfifo(folder / "f.raw")
    (folder / os.fsdecode(b"\xff.raw")).write_bytes(b"z" * 512)
    (folder / "new\nline.raw").write_bytes(b"z" * 512)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(folder / "s.raw"))
    assert {image.name for image in ImageFolder(folder).list()} == {"good.raw", "newer"}


def test_img_says_nothing_and_its_content_does(tmp_path: Path) -> None:
    """A qcow2 image under a name that ends in .img is read as qcow2, as distributions publish them."""
    raw = os.urandom(MiB)
    (tmp_path / "raw").write_bytes(raw)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "raw", tmp_path / "cirros.img")
    (tmp_path / "plain.img").write_bytes(raw)
    for name, format in (("cirros.img", "qcow2"), ("plain.img", "raw")):
        opened = Images(ImageFolder(tmp_path)).open(name)
        with opened.source as source:
            assert (opened.facts.format, source.read(0, MiB)) == (format, raw)


def test_an_administrators_link_is_followed(tmp_path: Path) -> None:
    """To a regular file: it is listed and opened; a link to nothing is neither."""
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "disk").write_bytes(b"d" * 512)
    (folder / "link.raw").symlink_to(tmp_path / "disk")
    (folder / "broken.raw").symlink_to(tmp_path / "nothing")
    images = Images(ImageFolder(folder))
    assert [image.name for image in images.folder.list()] == ["link.raw"]
    with images.open("link.raw").source as source:
        assert source.read(0, 512) == b"d" * 512
    with pytest.raises(errors.NotFound):
        images.resolve("broken.raw", Context("p", "u", frozenset({MEMBER}), ""))
