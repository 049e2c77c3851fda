"""The protocols of migration (S075, S084, S096). Without them the service copies, and nothing else happens."""

from typing import Literal, Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState

Remote = Literal["src", "dest"]


@runtime_checkable
class MigrateDriver(Protocol):
    """A driver that moves a volume, which is not in use, from one of its pools to another without a copy by the service."""

    def migrate_volume(self, volume: VolumeRef, destination: VolumeRef) -> tuple[bool, ProviderState | None]:
        """Move the object, which keeps its owner: all of it or nothing. `destination`: its pool, and the extra specs of the
        type that the volume has there.

        (False, None) where this driver cannot do it between these pools or with these specs, and then nothing has changed.
        (True, state) where it did, and where it is there already. Called the other way round to take a move back, with the
        state from before where the new one was not kept. Conflict where another object has the name at the destination.
        """


@runtime_checkable
class VolumeCopyDriver(Protocol):
    """A driver that prepares its volumes for a copy by the service: before, the copy, after."""

    def before_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: Remote | None) -> None:
        """Called before the bytes are copied, and again where a copy goes on after a crash.

        remote: which of the two is another driver's, and which then has been, or will be, called too; None: both are here.
        """

    def after_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: Remote | None) -> None:
        """Called after the copy, also where it failed or was cancelled; perhaps more than once, or without `before`."""


@runtime_checkable
class MigratedDriver(Protocol):
    """A driver that finalizes an object which the service has filled with the bytes of another one."""

    def update_migrated_volume(self, volume: VolumeRef, source: VolumeRef) -> ProviderState | None:
        """Called of the destination's driver once the volume is there, while its source still exists; again after a crash.

        What is to be kept of the object from now on; None: what was kept before. There is no `_name_id`: an object has the id
        of its volume from the beginning, at both places.
        """
