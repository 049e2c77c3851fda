"""What excludes what: the table of locks, as the engine grants them."""

from hypothesis import given
from hypothesis import strategies as st

from nbdsvc.model import locking
from nbdsvc.model.operation import Lock
from nbdsvc.operations.locks import LockTable
from nbdsvc.service import TYPES_BY_NAME

ENDS = ("attachment.delete", "attachment.terminate", "volume.detach_all")
IDS = {"volume": "v", "source": "s", "snapshot": "n", "attachment": "a", "pool": "me@b#p"}
# Whoever starts, repairs or ends the same server; and the end of the volume, which the end of its access precedes.
SAME_SERVER = {*ENDS, "attachment.connect", "attachment.repair", "volume.delete"}


def test_every_kind_is_in_the_table() -> None:
    """No operation chooses its locks by itself."""
    assert set(TYPES_BY_NAME) == {kind.removesuffix(" in use") for kind in locking.TABLE}


@given(st.lists(st.sampled_from(sorted(set(locking.TABLE) - SAME_SERVER)), max_size=12), st.sampled_from(ENDS))
def test_an_end_of_access_waits_for_nothing_else(others: list[str], end: str) -> None:
    """Whatever else runs or waits on the volume, as source or as destination, the end of an attachment is granted at once."""
    table, reserved = LockTable(), set[str]()
    for index, kind in enumerate(others):
        wanted = locking.locks(kind, **(IDS if index % 2 else {**IDS, "volume": "w", "source": "v"}))
        if not table.try_acquire(str(index), wanted, reserved):
            reserved |= {lock.name for lock in wanted}
    assert table.try_acquire("end", locking.locks(end, **IDS), reserved)


def test_one_server_has_one_hand_on_it() -> None:
    """What starts, repairs or ends the same server excludes each other, and the volume's deletion excludes them."""
    for one in SAME_SERVER:
        for other in SAME_SERVER:
            table = LockTable()
            assert table.try_acquire("one", locking.locks(one, **IDS), set())
            assert not table.try_acquire("other", locking.locks(other, **IDS), set()), (one, other)


def test_a_volume_being_copied_is_not_connected() -> None:
    """A copy that needs the volume's bytes to stand still keeps new writers away; one of a volume in use does not."""
    for kind, excluded in (("snapshot.create", True), ("volume.revert", True), ("volume.upload in use", False)):
        table = LockTable()
        assert table.try_acquire("copy", locking.locks(kind, **IDS), set())
        assert table.try_acquire("connect", locking.locks("attachment.connect", **IDS), set()) is not excluded
    assert locking.locks("attachment.connect", **IDS)[0] == Lock("v", shared=True)


def test_clones_of_one_source_go_on_together_and_nobody_writes_it() -> None:
    """Two clones share their source; its attachment, which could write it, waits for both, and they for one that begins."""
    table = LockTable()
    for number in "12":
        assert table.try_acquire(number, locking.locks("volume.create", volume=f"clone{number}", source="v"), set())
    assert not table.try_acquire("connect", locking.locks("attachment.connect", **IDS), set())
    table = LockTable()
    assert table.try_acquire("connect", locking.locks("attachment.connect", **IDS), set())
    assert not table.try_acquire("1", locking.locks("volume.create", volume="clone1", source="v"), set())
