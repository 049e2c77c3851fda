"""The methods of every driver. Their rules are in the docstring of nbdsvc.driver."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.facts import DriverFacts
from nbdsvc.driver.objects import BackendObject
from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState
from nbdsvc.driver.stats import PoolStats
from nbdsvc.location import Location


@runtime_checkable
class Driver(Protocol):
    """A volume backend whose volumes are created, used, extended and deleted. `name`: as in `host@backend#pool`."""

    name: str
    VERSION: str

    @property
    def facts(self) -> DriverFacts:
        """Facts that the methods do not show. Constant after `do_setup`."""

    # Start (S061, S062, S021)

    def do_setup(self) -> None:
        """Make what the backend needs. Idempotent."""

    def check_for_setup_error(self) -> None:
        """Raise ConfigError or BackendUnavailable when no pool can serve; called before each use of a sick backend."""

    def get_version(self) -> str:
        """The driver's VERSION."""

    # Facts (S063, S078-S080)

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """The pools' statistics, measured anew with `refresh`: of each, those that cannot serve too, with the fault."""

    def get_pool(self, volume: VolumeRef) -> str:
        """Name of the pool that holds the volume."""

    def get_filter_function(self) -> str | None:
        """The scheduler's filter expression; None passes always (S078)."""

    def get_goodness_function(self) -> str | None:
        """The scheduler's goodness expression; None scores 0 (S078)."""

    def location(self, volume: VolumeRef) -> Location:
        """Where the bytes of the volume are, which need not exist. BackendUnavailable where something took their place.

        The path of a `block` or `file` location is what Cinder's `local_path` returns (S093). The scheme comes from the
        driver, never from a look at the path: a device that is gone must not be taken for a file. It is no context
        manager, because an export outlives the service, and nothing would be left to close it.
        """

    def list_objects(self) -> list[BackendObject]:
        """Every object of the pools that can be listed, so that objects without a row, and rows without one, can be found."""

    def check_room(self, pool: str, needed: int) -> None:
        """OutOfSpace when writing `needed` bytes into volumes would overrun the pool."""

    def watch(self) -> None:
        """Called at every report: grow what runs full, wake what sleeps, warn of what cannot be mended."""

    # Volumes (S064-S066, S092)

    def create_volume(self, volume: VolumeRef, owner: str) -> ProviderState | None:
        """A volume of `volume.size` bytes that reads as zeros."""

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove it. DeviceBusy while a snapshot needs it."""

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Grow to `new_size` bytes, also while exported; new bytes read as zeros. Never shrinks (S092)."""
