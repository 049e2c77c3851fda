"""Which images stand for a snapshot: those without bytes that name the one of a root volume."""

import json
from typing import Any

import pytest

from nbdsvc.images.boot_snapshot import boot_snapshot
from nbdsvc.images.index import Image

SNAPSHOT, OTHER = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


def image(mapping: Any, size: int = 0) -> Image:
    text = mapping if isinstance(mapping, str) else json.dumps(mapping)
    return Image("i", "n", size=size, properties={"block_device_mapping": text})


def entry(**more: Any) -> dict[str, Any]:
    return {"source_type": "snapshot", "boot_index": 0, "snapshot_id": SNAPSHOT, **more}


@pytest.mark.parametrize("mapping", [
    [entry()], [entry(boot_index="0")], [entry(boot_index=1, snapshot_id=OTHER), entry()], [7, None, entry()],
])  # fmt: skip
def test_the_root_volume_s_snapshot(mapping: Any) -> None:
    """Wherever it is in the list, whatever else is there."""
    assert boot_snapshot(image(mapping)) == SNAPSHOT


@pytest.mark.parametrize("mapping", [
    [], {}, "", "no JSON", "[" * 100000, 7, None, [entry(boot_index=1)], [entry(boot_index=False)], [entry(boot_index=None)],
    [entry(source_type="volume")], [entry(snapshot_id=None)], [entry(snapshot_id=7)], [entry(snapshot_id="../x")],
])  # fmt: skip
def test_what_names_none(mapping: Any) -> None:
    """Other disks, other sources, what is no id, and what is no list."""
    assert boot_snapshot(image(mapping)) is None


def test_an_image_with_bytes_is_itself() -> None:
    """And so is one without the property."""
    assert boot_snapshot(image([entry()], size=1)) is None
    assert boot_snapshot(Image("i", "n")) is None
