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
