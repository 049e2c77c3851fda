"""What a source says of the bytes of an image: the same before and while they are read, and another after every change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import PATIENCE
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.images.image_store import Image, ImageFolder
from nbdsvc.images.resolve import Images
from nbdsvc.images.version import ImageVersion, of_file
from nbdsvc.model import names
from nbdsvc.model.context import MEMBER, Context

OWNER, STRANGER = (Context(project, "u", frozenset({MEMBER}), "r") for project in ("mine", "other"))


def settled(images: Images, reference: str, context: Context = OWNER) -> ImageVersion:
    """The version, once the file has rested for long enough to have one."""
    found: list[ImageVersion] = []

    def look() -> bool:
        version = images.version(reference, context)
        found.extend([version] if version else [])
        return version is not None

    wait_until(look, 10 * PATIENCE, lambda: reference)
    return found[-1]


def _in_place(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"new")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replaced(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [_in_place, _replaced])
def test_a_changed_file_has_another_version(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Also one of the same size whose time of modification was set back; what is read has the version that was said before."""
    path, images = tmp_path / "base.img", Images(ImageFolder(tmp_path))
    path.write_bytes(bytes(4096))
    before = settled(images, "base.img")
    with images.open("base.img").source:
        assert images.open("base.img").version == before
    change(path)
    assert settled(images, "base.img").key != before.key


def test_a_file_that_was_just_changed_has_no_version(tmp_path: Path) -> None:
    """A second change might have the same time; a version is said again when the file has rested."""
    path = tmp_path / "base.img"
    path.write_bytes(bytes(4096))
    assert of_file("x", path.stat(), None, None) is None


def test_no_project_learns_the_version_of_an_image_that_it_may_not_use(tmp_path: Path) -> None:
    """A private image is not found, as an image that there is not, with the same words."""
    folder, id, nothing = ImageFolder(tmp_path), names.new_id(), names.new_id()
    folder.begin(Image(id, "secret", project_id="mine", visibility="private")).write_bytes(bytes(512))
    folder.commit(Image(id, "secret", project_id="mine", visibility="private"))
    images = Images(folder)
    assert settled(images, id).id == id
    said = []
    for wanted in (id, nothing):
        with pytest.raises(errors.NotFound) as refused:
            images.version(wanted, STRANGER)
        said.append(str(refused.value).replace(wanted, "X"))
    assert said[0] == said[1]


def test_a_new_checksum_of_the_catalogue_is_a_new_version(tmp_path: Path) -> None:
    """What was kept under another checksum is not used: it would be refused now."""
    (tmp_path / "base.img").write_bytes(bytes(4096))
    images = Images(ImageFolder(tmp_path))
    before = settled(images, "base.img")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  base.img\n")
    assert images.version("base.img", OWNER) != before
