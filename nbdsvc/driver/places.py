"""The places of pools: by them the service finds a pool that two backends share."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class PoolPlaces(Protocol):
    """A driver that can tell whether one of its pools is also a pool of another backend, under another name."""

    def pool_places(self) -> Mapping[str, frozenset[str]]:
        """The identifiers of each pool: two pools with a common identifier are the same. Called before do_setup.

        An identifier that begins with / is a folder: a pool in a subfolder of another pool's is refused, too.
        """


@runtime_checkable
class NeighbourDriver(PoolPlaces, Protocol):
    """A driver that lists objects of other backends, too, because their pools share one container (a volume group)."""

    def set_neighbours(self, places: frozenset[str]) -> None:
        """The places of all pools of the host's other backends, whose objects the driver neither lists nor uses.

        Called at the start of each backend, and again whenever another backend starts.
        """
