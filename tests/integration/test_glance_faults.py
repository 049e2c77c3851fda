"""A Glance that is away, lies or breaks off: each an error that says why, with nothing left behind, or work that goes on."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from glance_scene import Scene, make_scene, pattern, user_file, wait_for
from glance_server import Glance
from keystone_server import Keystone
from lying_front import Front, always, once, refuse_first_token, standing
from odd_server import Site, serving
from serving import ServiceProcess

Make = Callable[..., ServiceProcess]
GIB = 1 << 30


@pytest.fixture(scope="module")
def fronted(
    module_service: Make, keystone: Keystone, glance: Glance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scene, Front]]:
    credentials = user_file(tmp_path_factory.mktemp("user"), keystone.url)
    with standing(glance.url) as front:
        service = module_service(
            "fronted", driver="memory", image_service="glance", glance_user_file=credentials,
            glance_endpoint=front.url, image_spool=2 * GIB,
        )  # fmt: skip
        yield Scene(service, keystone, glance), front


@pytest.fixture
def scene(fronted: tuple[Scene, Front]) -> Scene:
    return fronted[0]


@pytest.fixture
def front(fronted: tuple[Scene, Front]) -> Iterator[Front]:
    front = fronted[1]
    front.seen.clear()
    yield front
    front.lie = lambda _method, _kind, _token: ""


LIES = [
    ("size", "record", "sends 2097152 bytes of an image that has 2097664"),
    ("digest", "record", "has checksum"),
    ("changed", "file", "has checksum"),
    ("shifted", "file", "the server sent bytes"),
    ("redirect", "file", "redirects"),
    ("unauthorized", "file", "answered 401"),
    ("odd", "file", "answered 418"),
]


@pytest.mark.row("S023", "S074")
@pytest.mark.parametrize(("lie", "kind", "reason"), LIES)
def test_a_lie_fails_the_creation_with_a_reason(scene: Scene, front: Front, lie: str, kind: str, reason: str) -> None:
    """The volume is in error, the operation says why, and its bytes are gone."""
    image = scene.image(pattern(2))
    front.lie = always(lie, kind)
    volume = scene.create(image)
    assert scene.wait(volume) == "error"
    assert reason in scene.why(volume)
    assert not scene.path(volume).exists()


def test_a_digest_that_is_wrong_of_a_qcow2(scene: Scene, front: Front, tmp_path: Path) -> None:
    """All its bytes are digested, although it is read by its tables."""
    raw, packed = tmp_path / "raw", tmp_path / "packed"
    raw.write_bytes(pattern(2))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed)], check=True)
    image = scene.image(packed.read_bytes(), disk_format="qcow2")
    front.lie = always("digest", "record")
    volume = scene.create(image)
    assert scene.wait(volume) == "error"
    assert "has checksum" in scene.why(volume)


def test_a_stream_that_is_always_cut_is_an_error(scene: Scene, front: Front) -> None:
    """After a bounded number of tries."""
    image = scene.image(pattern(1))
    front.lie = always("truncated")
    volume = scene.create(image)
    assert scene.wait(volume) == "error"
    assert "instead of" in scene.why(volume) or "closed the connection" in scene.why(volume), scene.why(volume)


@pytest.mark.parametrize("lie", ["truncated", "busy", "drop"])
def test_what_passes_is_tried_again(scene: Scene, front: Front, lie: str) -> None:
    """And the bytes are right."""
    content = pattern(3)
    image = scene.image(content)
    front.lie = once(lie, after=2)
    volume = scene.create(image)
    assert scene.wait(volume) == "available", scene.why(volume)
    assert scene.begins_with(volume, content)


def test_a_token_that_ends_in_the_middle_is_replaced(scene: Scene, front: Front) -> None:
    """The service user authenticates again; the copy goes on."""
    content = pattern(6)
    image = scene.image(content)
    front.lie = refuse_first_token("file", "GET", after=3)
    volume = scene.create(image)
    assert scene.wait(volume) == "available", scene.why(volume)
    assert scene.begins_with(volume, content)
    assert len(front.tokens("file")) == 2


def test_a_copy_outlives_the_service_users_tokens(
    make_service: Make, keystone: Keystone, glance: Glance, tmp_path: Path
) -> None:
    """A Keystone whose tokens last for two seconds, and a copy of four."""
    short = keystone.short_lived(2)
    short.start()
    try:
        given = {"image_service": "glance", "glance_user_file": user_file(tmp_path, f"{short.url}/v3")}
        with standing(glance.url) as front:
            service = make_service(driver="memory", copy_rate=1 << 20, glance_endpoint=front.url, **given)
            scene, content = Scene(service, keystone, glance), pattern(4)
            volume = scene.create(scene.image(content))
            assert scene.wait(volume) == "available", scene.why(volume)
            assert scene.begins_with(volume, content)
            assert len(front.tokens("file")) > 1
    finally:
        short.stop()


def test_a_redirect_gets_no_token(scene: Scene, front: Front) -> None:
    """Neither for an image's record nor for its bytes is a request sent to another address."""
    image = scene.image(pattern(1))
    elsewhere = Site(b"x" * 512)
    with serving(elsewhere) as front.elsewhere:
        front.lie = always("redirect", "record")
        body = {"volume": {"size": 1, "imageRef": image}}
        status, content = scene.ask("POST", "volumes", body)
        assert (status, "redirects" in str(content)) == (503, True), content
    assert elsewhere.requests == 0


@pytest.mark.parametrize(("lie", "reason"), [
    ("drip", "more than"), ("garbage", "no JSON"), ("other", "not the record"), ("busy", "answered 503"), ("odd", "answered 418"),
])  # fmt: skip
def test_a_record_that_is_none_is_503_at_once(scene: Scene, front: Front, lie: str, reason: str) -> None:
    """Before there is a volume; and the next request is served."""
    image = scene.image(pattern(1))
    front.lie = always(lie, "record")
    status, content = scene.ask("POST", "volumes", {"volume": {"size": 1, "imageRef": image}})
    assert (status, reason in str(content)) == (503, True), content
    front.lie = lambda _method, _kind, _token: ""
    assert scene.wait(scene.create(image)) == "available"


@pytest.mark.row("S032")
@pytest.mark.parametrize(("lie", "kind", "method", "reason"), [
    ("full", "file", "PUT", "413"), ("redirect", "file", "PUT", "answered 302"), ("odd", "file", "PUT", "418"),
    ("drop", "file", "PUT", "cannot be used"), ("digest", "record", "GET", "has checksum"),
    ("odd", "record", "POST", "418"),
])  # fmt: skip
def test_an_upload_that_fails_leaves_no_image(
    scene: Scene, front: Front, lie: str, kind: str, method: str, reason: str
) -> None:
    """The volume is available again, the operation says why, and the image, queued or whole, is deleted."""
    volume = scene.written(pattern(1))
    if (kind, method) == ("record", "POST"):
        front.lie = lambda found, _kind, _token: lie if found == "POST" else ""
    else:
        front.lie = always(lie, kind, method)
    image = scene.upload(volume)
    assert scene.wait(volume) == "available"
    assert reason in scene.why(volume), scene.why(volume)
    assert scene.in_glance(image) is None
    assert not list(scene.service.state.glob("journals/*"))


@pytest.mark.row("S032")
def test_an_image_that_could_not_be_deleted_is_deleted_later(scene: Scene, front: Front) -> None:
    """Glance goes away in the middle: the volume is available at once, and the image is gone when Glance is back."""
    volume = scene.written(pattern(1))
    gone: list[str] = []

    def away(method: str, kind: str, _token: str) -> str:
        gone.extend([kind] if (method, kind) == ("PUT", "file") else [])
        return "busy" if gone else ""

    front.lie = away
    image = scene.upload(volume)
    assert scene.wait(volume) == "available"
    assert scene.operation(volume)["state"] == "rollback_failed"
    assert scene.in_glance(image) is not None
    front.lie = lambda _method, _kind, _token: ""
    wait_for(lambda: scene.in_glance(image) is None)


def test_an_image_of_another_project_is_not_deleted(scene: Scene, front: Front) -> None:
    """Who takes the id that an upload has chosen keeps that image, and the upload fails."""
    volume = scene.written(pattern(1))
    neighbour, made = scene.keystone.token("neighbour", project="other"), list[str]()

    def take(method: str, _kind: str, _token: str) -> str:
        if method == "POST" and made:
            body = {"id": made[0], "name": "taken", "disk_format": "raw", "container_format": "bare"}
            scene.ask_glance("POST", "images", body, token=neighbour)
        return "" if made else "busy"

    front.lie = take
    made.append(scene.upload(volume))
    assert scene.wait(volume) == "available"
    found = scene.in_glance(made[0])
    assert found, scene.why(volume)
    assert found["owner"] == scene.keystone.projects["other"]
    scene.ask_glance("DELETE", f"images/{made[0]}", token=neighbour)


@pytest.mark.row("S032")
def test_an_upload_goes_on_by_a_new_token_or_connection(scene: Scene, front: Front) -> None:
    """A refused token and a broken connection: the same image, once."""
    for lie in (refuse_first_token("file", "PUT"), once("drop", "file", "PUT"), once("busy", "record", "GET")):
        volume = scene.written(pattern(1))
        front.lie = lie
        image = scene.upload(volume)
        assert scene.wait(volume) == "available"
        found = scene.in_glance(image)
        assert found, scene.why(volume)
        assert found["status"] == "active"


def test_an_image_that_is_deleted_meanwhile(scene: Scene, front: Front) -> None:
    """The creation says that it is gone."""
    image = scene.image(pattern(1))

    def remove(method: str, kind: str, _token: str) -> str:
        if (method, kind) == ("GET", "file"):
            scene.ask_glance("DELETE", f"images/{image}")
        return ""

    front.lie = remove
    volume = scene.create(image)
    assert scene.wait(volume) == "error"
    assert "404" in scene.why(volume), scene.why(volume)


def test_an_upload_whose_image_is_deleted_meanwhile(scene: Scene, front: Front) -> None:
    """The operation says so, and the volume is available again."""
    volume = scene.written(pattern(1))
    made: list[str] = []

    def remove(method: str, kind: str, _token: str) -> str:
        if (method, kind) == ("GET", "record") and made:
            scene.ask_glance("DELETE", f"images/{made[0]}", token=scene.keystone.token("admin", project="admin"))
        return ""

    front.lie = remove
    made.append(scene.upload(volume))
    assert scene.wait(volume) == "available"
    assert "was deleted while it was made" in scene.why(volume)


def test_glance_away_is_503_and_another_id_404(
    make_service: Make, keystone: Keystone, glance: Glance, tmp_path: Path
) -> None:
    """With what is away, and no password; what needs no image goes on."""
    away = make_scene(make_service, keystone, glance, tmp_path, glance_endpoint="http://127.0.0.1:1")
    body = {"volume": {"size": 1, "imageRef": str(uuid.uuid4())}}
    status, content = away.ask("POST", "volumes", body)
    assert (status, "refused" in str(content)) == (503, True), content
    assert away.wait(away.written(b"x")) == "available"


def test_a_wrong_password_is_said_without_it(
    make_service: Make, keystone: Keystone, glance: Glance, tmp_path: Path
) -> None:
    """503, with the setting to look at."""
    credentials = user_file(tmp_path, keystone.url, password="is-not-the-one")
    scene = Scene(make_service(driver="memory", image_service="glance", glance_user_file=credentials), keystone, glance)
    status, content = scene.ask("POST", "volumes", {"volume": {"size": 1, "imageRef": str(uuid.uuid4())}})
    assert (status, "glance_user_file" in str(content)) == (503, True), content
    assert "is-not-the-one" not in scene.service.log.read_text()
