"""What may be begun while the disk under the database is nearly full."""

from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.operation_types import TYPES_BY_NAME
from nbdsvc.store.reserve import Reserve


def test_what_leaves_something_behind_is_marked() -> None:
    """These types are refused then, and no other: whatever ends, reads or repairs something goes on."""
    adding = {each.name for each in TYPES_BY_NAME.values() if each.adds}
    assert adding == {
        "volume.create", "volume.manage", "volume.upload", "volume.upload_to_glance", "image.import", "snapshot.create", "snapshot.manage",
        "group.create", "group.create_from_source", "group_snapshot.create", "backup.create", "backup.import",
    }  # fmt: skip


@pytest.mark.parametrize(("size", "is_refused"), [(0, False), (4096, False), (1 << 62, True)])
def test_the_check_names_the_folder(tmp_path: Path, size: int, is_refused: bool) -> None:
    """With twice the reserve free it lets pass, with less it is OutOfSpace, which says where and how much is kept."""
    reserve = Reserve(tmp_path / "nbdsvc.db", size)
    if not is_refused:
        reserve.check()
        return
    with pytest.raises(errors.OutOfSpace, match=rf"{tmp_path}.*are kept for detach and delete"):
        reserve.check()
