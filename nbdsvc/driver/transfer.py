"""The protocol of a change of a volume's owner (S095)."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState


@runtime_checkable
class TransferDriver(Protocol):
    """A driver that stores data of a volume's owner, for example CHAP credentials of the project."""

    def accept_transfer(self, volume: VolumeRef, new_user: str, new_project: str) -> ProviderState | None:
        """Called when a project has accepted the volume, which has no attachments; again after a crash.

        Returns the state to store from now on; None: the stored one stays. To undo a call, the method is called with
        the former owner, and with the state that the undone call returned if that was stored.
        """
