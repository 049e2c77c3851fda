"""Images that Glance keeps in a folder which this host sees too: read there only where the operator allows it."""

from pathlib import Path

import pytest
from glance_scene import Scene, pattern, user_file
from glance_server import Glance as GlanceServer
from keystone_server import Keystone

from nbdsvc import errors
from nbdsvc.images.glance.client import Glance
from nbdsvc.images.glance.credentials import load
from nbdsvc.images.glance.images import GlanceImages
from nbdsvc.images.glance.keystone import ServiceUser
from nbdsvc.images.glance.rest import Rest
from nbdsvc.images.http.access import Access
from nbdsvc.images.resolve import OpenImage
from nbdsvc.images.spool import NO_SPOOL
from nbdsvc.model.context import ADMIN, Context

HOST = Context("", "", frozenset({ADMIN}), "")


def images_of(keystone: Keystone, tmp_path: Path, *near: Path) -> GlanceImages:
    rest = Rest(Access())
    return GlanceImages(Glance(ServiceUser(load(user_file(tmp_path, keystone.url)), rest), rest), near, spool=NO_SPOOL)


def is_near(image: OpenImage) -> bool:
    """Whether it is read from a file: what comes by http comes by calls."""
    return image.source.callback is None


@pytest.fixture
def scene(keystone: Keystone, glance: GlanceServer) -> Scene:
    return Scene(None, keystone, glance)  # type: ignore[arg-type] - no service is needed here


def test_only_in_folders_that_the_operator_names(scene: Scene, tmp_path: Path) -> None:
    """The same bytes either way, and verified either way."""
    content, store = pattern(1), scene.glance.server.folder / "images"
    image = scene.image(content)
    other = tmp_path / "other"
    other.mkdir()
    for near, expected in (((store,), True), ((), False), ((other,), False), ((store.parent / "tasks",), False)):
        with images_of(scene.keystone, tmp_path, *near).open(image, HOST).source as source:
            assert (source.callback is None) == expected
            assert source.read(0, len(content)) == content
    (store / image).write_bytes(pattern(1))
    found = images_of(scene.keystone, tmp_path, store).open(image, HOST)
    with found.source, found.check, pytest.raises(errors.ChecksumMismatch):
        found.check.finish()


def test_a_link_out_of_the_folder_is_not_followed(scene: Scene, tmp_path: Path) -> None:
    """Nor is a file of another size: what is there is read over the network, as Glance gives it."""
    content, store = pattern(1), scene.glance.server.folder / "images"
    image = scene.image(content)
    there = store / image
    away = tmp_path / "away"
    there.rename(away)
    there.symlink_to(away)
    try:
        found = images_of(scene.keystone, tmp_path, store).open(image, HOST)
        with found.source:
            assert not is_near(found)
    finally:
        there.unlink()
        away.rename(there)
    with there.open("ab") as file:
        file.write(b"more")
    found = images_of(scene.keystone, tmp_path, store).open(image, HOST)
    with found.source:
        assert not is_near(found)


def test_the_endpoint_is_the_catalogues(scene: Scene, tmp_path: Path) -> None:
    """In the region that the credentials name; none there is an error that says where it was looked for."""
    credentials = user_file(tmp_path, scene.keystone.url)
    rest = Rest(Access())
    assert ServiceUser(load(credentials), rest).endpoint() == scene.glance.url
    credentials.write_text(credentials.read_text().replace("RegionOne", "elsewhere"))
    with pytest.raises(errors.ImageServiceFailed, match="no public endpoint of an image service in region elsewhere"):
        ServiceUser(load(credentials), rest).endpoint()
