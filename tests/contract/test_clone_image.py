"""clone_image of the simulator: as the contract of CloneImageDriver says."""

from pathlib import Path

import pytest

from drivers.memory import MemoryDriver
from nbdsvc import errors
from nbdsvc.driver import CloneImageDriver, VolumeRef
from nbdsvc.units import GiB

ID = "00000000-0000-4000-8000-00000000000a"
RAW = {"disk_format": "raw", "image_name": "a b.raw", "size": "4096", "virtual_size": 4096, "container_format": "bare"}


def _driver(folder: Path, *, clones_images: bool = True) -> MemoryDriver:
    made = MemoryDriver("memory", folder / "pool", clones_images=clones_images)
    made.do_setup()
    return made


@pytest.mark.row("S090")
def test_a_raw_image_is_cloned_and_anything_else_is_declined(tmp_path: Path) -> None:
    """Again with the same owner it is success, another owner's is a Conflict; what is declined leaves nothing behind."""
    image = tmp_path / "a b.raw"
    image.write_bytes(b"x" * 4096)
    driver, volume = _driver(tmp_path), VolumeRef(ID, GiB, "memory", {})
    assert isinstance(driver, CloneImageDriver)
    for location, meta in ((image.as_uri(), {**RAW, "disk_format": "qcow2"}), ("https://host/a.raw", RAW)):
        assert driver.clone_image(volume, location, ID, meta, "op") == (None, False)
    assert not _driver(tmp_path, clones_images=False).facts.clones_images and driver.facts.clones_images
    assert driver.list_objects() == []
    for _ in range(2):
        assert driver.clone_image(volume, image.as_uri(), ID, RAW, "op") == (None, True)
    with driver.location(volume).path.open("rb") as file:
        assert (file.read(8192), file.seek(0, 2)) == (b"x" * 4096 + bytes(4096), GiB)
    with pytest.raises(errors.Conflict):
        driver.clone_image(volume, image.as_uri(), None, RAW, "another")
