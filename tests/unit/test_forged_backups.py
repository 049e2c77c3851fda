"""What a manifest in the clear says, which whoever reaches the store may have written."""

import hashlib
import struct
from pathlib import Path

import pytest
from storing import SPACE, vault

from nbdsvc import errors
from nbdsvc.backup_store import sealed
from nbdsvc.backup_store.manifest import CHUNK
from nbdsvc.backups.records import volume_changes


@pytest.mark.parametrize("size", ["Infinity", "[" * 100000, '"\\ud800"'])
def test_a_forged_description_is_damage(tmp_path: Path, size: str) -> None:
    """Whatever a manifest in the clear has in its description."""
    space = vault(tmp_path).space(SPACE)
    text = f'{{"version": 1, "chunk": {CHUNK}, "table": "", "backup": "one", "description": {{}}, "size": {size}}}'
    frame = sealed.encode(sealed.MANIFEST_MAGIC, space.keys, b"one", text.encode(), compress=True)
    tail = struct.pack("<QQ32s", len(frame), 0, hashlib.sha256(frame).digest())
    space.store.put(space.manifest_name("one"), frame + tail)
    with pytest.raises(errors.BackupDamaged, match="description is none"):
        space.get_manifest("one")


@pytest.mark.parametrize("text", ["a\0", "\ud800"])
def test_what_no_database_stores_is_not_given_to_a_volume(text: str) -> None:
    """The end of the restore writes it, and must not fail for what a manifest has in it."""
    assert volume_changes({"volume": {"bootable": True, "image_metadata": {"os": text}}}) == {}
    assert volume_changes({"volume": {"bootable": True, "image_metadata": {text: "x"}}}) == {}
