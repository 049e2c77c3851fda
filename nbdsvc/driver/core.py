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
        """Set up the backend. Idempotent."""

    def check_for_setup_error(self) -> None:
        """Raise ConfigError or BackendUnavailable when no pool works; called before each use of a failed backend."""

    def get_version(self) -> str:
        """The driver's VERSION."""

    # Facts (S063, S078-S080)

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """The statistics of every pool; one that does not work is listed with its `fault`. refresh: measure again."""

    def get_pool(self, volume: VolumeRef) -> str:
        """Name of the pool that holds the volume."""

    def get_filter_function(self) -> str | None:
        """The scheduler's filter expression; None: the filter passes every request (S078)."""

    def get_goodness_function(self) -> str | None:
        """The scheduler's goodness expression; None: the goodness is 0 (S078)."""

    def location(self, volume: VolumeRef) -> Location:
        """The location of the volume's bytes. The object need not exist; BackendUnavailable when another has its place.

        The path of a `block` or `file` location is what Cinder's `local_path` returns (S093). The driver knows the
        scheme and does not stat the path, because a device that is gone must not be taken for a file. The location
        needs no close, because an export outlives the service.
        """

    def list_objects(self) -> list[BackendObject]:
        """Every object of the pools that can be listed; the service compares them with the rows."""

    def check_room(self, pool: str, needed: int) -> None:
        """Raise OutOfSpace when the pool has no space for a write of `needed` bytes into its volumes."""

    def watch(self) -> None:
        """Called at every report: extend what runs full, activate what is inactive, warn of what needs an operator."""

    # Volumes (S064-S066, S092)

    def create_volume(self, volume: VolumeRef, owner: str) -> ProviderState | None:
        """A volume of `volume.size` bytes that reads as zeros."""

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the volume. Raises DeviceBusy while a snapshot needs the volume."""

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Grow the volume to `new_size` bytes, also while it is exported; new bytes are zeros. No shrink (S092)."""
