"""The image cache with images of a real Glance: the second volume is a clone, and never one of a stale or foreign image."""

from collections.abc import Callable
from typing import Any

import pytest
from glance_scene import Scene, make_scene, pattern, wait_for
from glance_server import Glance
from keystone_server import Keystone
from serving import ServiceProcess


@pytest.fixture(scope="module")
def scene(
    module_service: Callable[..., ServiceProcess],
    keystone: Keystone,
    glance: Glance,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scene:
    folder = tmp_path_factory.mktemp("user")
    return make_scene(module_service, keystone, glance, folder, "cached", image_cache_gigabytes=10)


def _entries(scene: Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scene.service.client().get("image-cache")["cached_images"]
    return found


def _made(scene: Scene, image: str) -> str:
    volume = scene.create(image)
    assert scene.wait(volume) == "available", scene.why(volume)
    return volume


def test_the_second_volume_of_glances_image_is_a_clone(scene: Scene) -> None:
    """With the bytes and the metadata of the first; not after a property has changed, which volumes show."""
    content = pattern(3)
    image = scene.image(content, os_distro="debian")
    first = _made(scene, image)
    wait_for(lambda: [each["uses"] for each in _entries(scene)] == [0])
    second = _made(scene, image)
    assert [each["uses"] for each in _entries(scene)] == [1]
    assert scene.begins_with(second, content)
    assert scene.shown(second)["volume_image_metadata"] == scene.shown(first)["volume_image_metadata"]
    scene.set_property(image, "os_distro", "ubuntu")
    third = _made(scene, image)
    assert scene.shown(third)["volume_image_metadata"]["os_distro"] == "ubuntu"
    wait_for(lambda: sorted(each["uses"] for each in _entries(scene)) == [0, 1])


def test_a_cached_image_is_no_other_projects(scene: Scene) -> None:
    """Who may not see it in Glance gets 404, whether it is cached or not."""
    image = scene.image(pattern(1), visibility="private")
    before = len(_entries(scene))
    _made(scene, image)
    wait_for(lambda: len(_entries(scene)) == before + 1)
    project, token = scene.keystone.projects["other"], scene.keystone.token("neighbour", project="other")
    body = {"volume": {"size": 1, "imageRef": image}}
    assert scene.ask("POST", "volumes", body, token=token, project=project)[0] == 404
