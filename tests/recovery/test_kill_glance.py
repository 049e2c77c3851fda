"""A service killed by SIGKILL at the steps of what reads from Glance and writes to it: whole or gone, and nothing queued."""

from collections.abc import Callable
from pathlib import Path

import pytest
from glance_scene import Scene, make_scene, pattern, wait_for
from glance_server import Glance
from keystone_server import Keystone
from serving import ServiceProcess

UPLOAD = "volume.upload_to_glance"
CONTENT = pattern(2)


@pytest.fixture(scope="module")
def scene(
    module_service: Callable[..., ServiceProcess],
    keystone: Keystone,
    glance: Glance,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scene:
    folder = tmp_path_factory.mktemp("user")
    return make_scene(module_service, keystone, glance, folder, "killed", image_spool=2 << 30)


def die_and_return(scene: Scene) -> None:
    assert scene.service.wait_dead()
    scene.service.start()
    scene.service.settle()


@pytest.mark.row("S021", "S023", "S074")
@pytest.mark.parametrize("moment", ["before do", "after do"])
@pytest.mark.parametrize("step", ["allocate", "fill", "tidy"])
def test_killed_while_a_volume_is_made_of_an_image(scene: Scene, step: str, moment: str) -> None:
    """After the next start it has the image's bytes and metadata."""
    image = scene.image(CONTENT, name="source")
    scene.service.crash_at("volume.create", moment, step)
    volume = scene.create(image)
    die_and_return(scene)
    assert scene.wait(volume) == "available", scene.why(volume)
    assert scene.begins_with(volume, CONTENT)
    assert scene.shown(volume)["volume_image_metadata"]["image_name"] == "source"


@pytest.mark.row("S021", "S032", "S074")
@pytest.mark.parametrize("moment", ["before do", "after do"])
@pytest.mark.parametrize("step", ["record", "pack", "send", "protect", "tidy"])
def test_killed_while_a_volume_is_uploaded(scene: Scene, step: str, moment: str) -> None:
    """After the next start there is one whole image, and nothing else of it."""
    volume = scene.written(CONTENT)
    scene.service.crash_at(UPLOAD, moment, step)
    image = scene.upload(volume, protected=True)
    die_and_return(scene)
    assert scene.wait(volume) == "available"
    found = scene.in_glance(image)
    assert found, scene.why(volume)
    assert (found["status"], found["protected"]) == ("active", True)
    copy = scene.create(image)
    assert scene.wait(copy) == "available", scene.why(copy)
    assert scene.begins_with(copy, CONTENT)
    assert scene.unfinished_images() == []
    assert not list(scene.service.state.glob("journals/*"))


@pytest.mark.row("S021", "S032")
@pytest.mark.parametrize("moment", ["before undo", "after undo"])
@pytest.mark.parametrize("step", ["record", "pack"])
def test_killed_while_an_upload_is_undone(scene: Scene, step: str, moment: str) -> None:
    """After the next start the image is gone, also one that was whole and protected, and the volume is available."""
    volume = scene.written(CONTENT)
    scene.service.crash_at(UPLOAD, moment, step, fail="protect")
    image = scene.upload(volume, protected=True)
    die_and_return(scene)
    assert scene.wait(volume) == "available"
    assert scene.in_glance(image) is None
    assert not list(scene.service.state.glob("journals/*"))


@pytest.mark.row("S021", "S032")
def test_killed_while_it_sends_and_cancelled_afterwards(
    make_service: Callable[..., ServiceProcess], scene: Scene, tmp_path: Path
) -> None:
    """A half of the bytes is never an image, and nothing is left when the operation has ended."""
    slow = make_scene(make_service, scene.keystone, scene.glance, tmp_path, copy_rate=1 << 20)
    volume = slow.written(CONTENT)
    image = slow.upload(volume, disk_format="raw")
    wait_for(lambda: slow.operation(volume)["progress"]["done"] > 0)
    slow.service.kill()
    found = slow.in_glance(image)
    assert found
    assert found["status"] in ("queued", "saving")
    slow.service.start()
    slow.ask("POST", f"operations/{slow.operation(volume)['id']}/action", {"cancel": {}})
    assert slow.wait(volume) == "available"
    assert slow.in_glance(image) is None
