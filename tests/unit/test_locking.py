"""What excludes what: the table of locks, as the engine grants them."""

from hypothesis import given
from hypothesis import strategies as st

from nbdsvc.model import locking
from nbdsvc.model.operation import Lock
from nbdsvc.operation_types import TYPES_BY_NAME
from nbdsvc.operations.locks import excluded
from nbdsvc.store.operation_locks import Claimed

ENDS = ("attachment.delete", "attachment.terminate", "volume.detach_all")
IDS = {"volume": "v", "source": "s", "snapshot": "n", "attachment": "a", "pool": "me@b#p", "backend": "me@b"}
# Whoever starts, repairs or ends the same server; and the end of the volume, which the end of its access precedes.
SAME_SERVER = {*ENDS, "attachment.connect", "attachment.repair", "volume.delete", "backend.failover", "group.replicate"}


def test_every_kind_is_in_the_table() -> None:
    """No operation chooses its locks by itself."""
    assert set(TYPES_BY_NAME) == {kind.removesuffix(" in use").removesuffix(" of a snapshot") for kind in locking.TABLE}


def waits(*wanted: list[Lock]) -> bool:
    """Whether the last of these waits, when they were submitted in this order and those that may be are at work."""
    claimed = [Claimed(str(at), at, False, tuple(locks)) for at, locks in enumerate(wanted)]
    stopped = excluded(claimed)
    at_work = [Claimed(each.id, each.sequence, each.id not in stopped, each.locks) for each in claimed[:-1]]
    return claimed[-1].id in excluded([*at_work, claimed[-1]])


@given(st.lists(st.sampled_from(sorted(set(locking.TABLE) - SAME_SERVER)), max_size=12), st.sampled_from(ENDS))
def test_an_end_of_access_waits_for_nothing_else(others: list[str], end: str) -> None:
    """Whatever else runs or waits on the volume, as source or as destination, the end of an attachment is granted at once."""
    before = [
        locking.locks(kind, **(IDS if index % 2 else {**IDS, "volume": "w", "source": "v"}))
        for index, kind in enumerate(others)
    ]
    assert not waits(*before, locking.locks(end, **IDS))


def test_one_server_has_one_hand_on_it() -> None:
    """What starts, repairs or ends the same server excludes each other, and the volume's deletion excludes them."""
    for one in SAME_SERVER:
        for other in SAME_SERVER:
            assert waits(locking.locks(one, **IDS), locking.locks(other, **IDS)), (one, other)


def test_a_volume_being_copied_is_not_connected() -> None:
    """A copy that needs the volume's bytes to stand still keeps new writers away; one of a volume in use does not."""
    connect = locking.locks("attachment.connect", **IDS)
    for kind, excludes in (("snapshot.create", True), ("volume.reimage", True), ("volume.upload in use", False)):
        assert waits(locking.locks(kind, **IDS), connect) is excludes
    assert connect[0] == Lock("v", shared=True)


def test_clones_of_one_source_go_on_together_and_nobody_writes_it() -> None:
    """Two clones share their source; its attachment, which could write it, waits for both, and they for one that begins."""
    clones = [locking.locks("volume.create", volume=f"clone{number}", source="v") for number in "12"]
    connect = locking.locks("attachment.connect", **IDS)
    assert not waits(*clones)
    assert waits(*clones, connect)
    assert waits(clones[1], connect)
    assert waits(connect, clones[0])
