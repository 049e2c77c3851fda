"""The protocols of migration (S075, S084, S096). Without them the service copies and does not call the driver."""

from typing import Literal, Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState

Remote = Literal["src", "dest"]


@runtime_checkable
class MigrateDriver(Protocol):
    """A driver that can move an unused volume from one of its pools to another without a copy by the service."""

    def migrate_volume(self, volume: VolumeRef, destination: VolumeRef) -> tuple[bool, ProviderState | None]:
        """Move the object, completely or not at all; it keeps its owner. `destination`: the pool, and the extra specs
        of the volume's type there.

        Returns (False, None), with nothing changed, when the driver cannot move between these pools or with these
        specs; (True, state) when it has moved the object, now or before. Called with the arguments exchanged to undo a
        move, with the old state when the new one was not stored. Conflict when another object has the name at the
        destination.
        """


@runtime_checkable
class VolumeCopyDriver(Protocol):
    """A driver that is called before and after a copy of its volumes by the service."""

    def before_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: Remote | None) -> None:
        """Called before the bytes are copied, and again when a copy resumes after a crash.

        remote: which of the two volumes belongs to another driver, which is also called; None: both are this driver's.
        """

    def after_volume_copy(self, source: VolumeRef, destination: VolumeRef, remote: Remote | None) -> None:
        """Called after the copy, also when it failed or was cancelled; possibly repeatedly, or without `before`."""


@runtime_checkable
class MigratedDriver(Protocol):
    """A driver that has to finalize an object after the service has filled it with the bytes of another object."""

    def update_migrated_volume(self, volume: VolumeRef, source: VolumeRef) -> ProviderState | None:
        """Called on the destination's driver after the switch, while the source still exists; again after a crash.

        Returns the state to store from now on; None: the stored one stays. There is no `_name_id`: an object has the id
        of its volume from the beginning, at both places.
        """
