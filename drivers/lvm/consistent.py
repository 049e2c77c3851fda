"""Snapshots of several thin volumes at one moment, see ConsistentSnapshotDriver."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from drivers.lvm.one_moment import Swap, pool_device
from drivers.lvm.pools import ThinPool
from nbdsvc import errors
from nbdsvc.driver import SnapshotRef
from nbdsvc.model import names


class ConsistentSnapshots:
    """A part of the thin driver. The volumes may be in several of its pools."""

    _at: Callable[[str], ThinPool]
    _share: Callable[..., None]

    def prepare_snapshots(self, snapshots: Sequence[SnapshotRef], owner: str) -> list[None]:
        """Make the LVs, inactive. OutOfSpace where a pool or its metadata is full."""
        for each in snapshots:
            origin = names.volume_name(each.volume_id)
            self._share(self._at(each.pool), names.snapshot_name(each.id), origin, 0, owner, active=False)
        return [None] * len(snapshots)

    def take_snapshots(self, snapshots: Sequence[SnapshotRef]) -> float:
        """Make their devices in the thin pools anew, while all volumes are suspended. BackendUnavailable where a volume is
        gone, or is not suspended in time.
        """
        places = self._places(snapshots)
        (first, _), *_others = places
        with ExitStack() as stack:
            for at, _ in places:  # a repair of the backend would activate snapshots and resume volumes
                stack.enter_context(at.objects.waking)
            swaps = [swap for at, within in places for swap in _swaps(at, within)]
            try:
                return first.lvm.swap(swaps)
            except errors.CommandFailed:
                for at, within in places:
                    at.lvm.deactivate(*(names.snapshot_name(each.id) for each in within))
                return self._swap_again(first, swaps)

    def _swap_again(self, first: ThinPool, swaps: Sequence[Swap]) -> float:
        try:
            return first.lvm.swap(swaps)
        except errors.CommandFailed as error:
            raise first.objects.unavailable(f"volumes cannot be suspended together: {error.stderr}") from error

    def finish_snapshots(self, snapshots: Sequence[SnapshotRef]) -> None:
        """Activate the LVs."""
        for at, within in self._places(snapshots):
            at.lvm.activate(*(names.snapshot_name(each.id) for each in within))

    def _places(self, snapshots: Sequence[SnapshotRef]) -> list[tuple[ThinPool, list[SnapshotRef]]]:
        """Those of each pool, in the order in which all callers lock the pools."""
        pools = sorted({each.pool for each in snapshots})
        return [(self._at(pool), [each for each in snapshots if each.pool == pool]) for pool in pools]


def _swaps(at: ThinPool, snapshots: Sequence[SnapshotRef]) -> Iterator[Swap]:
    pairs = [(names.snapshot_name(each.id), names.volume_name(each.volume_id)) for each in snapshots]
    found = at.objects.find(*(name for pair in pairs for name in pair))
    for name, origin in pairs:
        for each in (name, origin):
            if each not in found:
                raise at.objects.gone(each)
        number, origin_number = found[name].thin_id, found[origin].thin_id
        # The device of this number is deleted: it has to be the snapshot's.
        if number is None or origin_number is None or found[name].origin != origin:
            raise errors.Conflict(reason=f"{name} in {at.place} is no thin snapshot of {origin}")
        yield Swap(at.lvm.path(origin), pool_device(at.lvm.group, at.thin_pool), number, origin_number)
