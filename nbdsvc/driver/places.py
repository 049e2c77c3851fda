"""Where pools are, for drivers that can tell."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class PoolPlaces(Protocol):
    """A driver that can tell when a pool of it is another one's under another name."""

    def pool_places(self) -> Mapping[str, frozenset[str]]:
        """What each pool is known by: two that share one of these are the same. Called before do_setup.

        What begins with / is a folder: a pool in a folder that is inside another one's is refused too.
        """


@runtime_checkable
class NeighbourDriver(PoolPlaces, Protocol):
    """A driver that sees objects of other backends, because pools lie side by side in what it lists (a volume group)."""

    def set_neighbours(self, places: frozenset[str]) -> None:
        """The places of all pools of the host's other backends: what lies there is theirs, and is neither listed nor used.

        Called at the start of each backend, and again whenever another one starts.
        """
