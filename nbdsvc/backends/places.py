"""Where the pools of a host are: no two of them may be in one place, where each would take the other's volumes for its own.

Backends start side by side and one may hang, so each notes its own places before it is set up, and is compared with those
that did so before it.
"""

import threading
from pathlib import PurePath

from nbdsvc import errors
from nbdsvc.driver import Driver, NeighbourDriver, PoolPlaces


class Places:
    """The places of one host's pools. Used by the threads of its backends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], frozenset[str]] = {}
        self._drivers: dict[str, PoolPlaces] = {}

    def take(self, backend: str, driver: Driver) -> None:
        """Note the places of the backend's pools, and tell every driver those of the others.

        Raises ConfigError where another pool has one of them, or is inside.
        """
        if not isinstance(driver, PoolPlaces):
            return
        places = driver.pool_places()
        with self._lock:
            self._known = {key: known for key, known in self._known.items() if key[0] != backend}
            for pool, found in places.items():
                self._check(backend, pool, found)
                self._known[backend, pool] = found
            self._drivers[backend] = driver
            self._introduce()

    def _introduce(self) -> None:
        for backend, driver in self._drivers.items():
            if isinstance(driver, NeighbourDriver):
                others = (found for (other, _pool), found in self._known.items() if other != backend)
                driver.set_neighbours(frozenset().union(*others))

    def _check(self, backend: str, pool: str, found: frozenset[str]) -> None:
        for (other_backend, other_pool), known in self._known.items():
            if shared := found & known:
                reason = f"is the same as pool {other_pool} of backend {other_backend}: {min(shared)}"
            elif inside := _inside(found, known) or _inside(known, found):
                reason = f"and pool {other_pool} of backend {other_backend} are one inside the other: {inside}"
            else:
                continue
            raise errors.ConfigError(setting=f"backends.{backend}", reason=f"its pool {pool} {reason}")


def _inside(found: frozenset[str], known: frozenset[str]) -> str:
    """A folder of `found` that is below one of `known`; empty where none is."""
    folders = [PurePath(each) for each in known if each.startswith("/")]
    below = [each for each in found if each.startswith("/") if any(PurePath(each).is_relative_to(f) for f in folders)]
    return min(below, default="")
