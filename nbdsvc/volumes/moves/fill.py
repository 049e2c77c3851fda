"""Step copy: the bytes, from the source to the destination."""

from nbdsvc import errors, journaled_copy
from nbdsvc.datapath import source as sources
from nbdsvc.operations.operation_type import Run
from nbdsvc.volumes.fill import fingerprint_of
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.hooks import call_hooks
from nbdsvc.volumes.moves.places import Places, is_copied, is_switched, read_places


def copy(run: Run[MoveArgs]) -> dict[str, int] | None:
    """Copy the bytes. ReadFailed where the source is shorter than the volume, WriteFailed where the destination is."""
    if not is_copied(run):
        return None
    places = read_places(run)
    call_hooks(places, "before_volume_copy")
    try:
        return _copy_bytes(run, places)
    finally:
        call_hooks(places, "after_volume_copy")


def _copy_bytes(run: Run[MoveArgs], places: Places) -> dict[str, int]:
    origin, target = places.source.driver.location(places.here), places.destination.driver.location(places.there)
    others = () if places.is_one_backend else (places.destination,)
    with sources.open(origin) as source:
        check_size(source, places.here.size)
        source.cut(places.here.size)
        if places.destination.driver.facts.thin:
            stored = sum(length for _, length, zero in source.extents() if not zero)
            places.destination.driver.check_room(places.there.pool, stored)
        result = journaled_copy.fill(
            run, source, target, places.there.size, fingerprint_of(origin), empty=True, others=others
        )
    with sources.open(target) as made:
        check_size(made, places.there.size)
    return result


def check_size(found: sources.Source, size: int) -> None:
    if found.size < size:
        reason = f"it ends there, and the volume has {size} bytes"
        raise errors.ReadFailed(source=found.name, offset=found.size, reason=reason)


def undo_copy(run: Run[MoveArgs]) -> None:
    """Where the process died before it could call the second hook."""
    journaled_copy.remove_journal(run)
    if is_copied(run) and not is_switched(run):
        call_hooks(read_places(run), "after_volume_copy")
