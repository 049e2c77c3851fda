"""The protocol of a change of a volume's owner (S095)."""

from typing import Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState


@runtime_checkable
class TransferDriver(Protocol):
    """A driver that keeps something of a volume's owner, as one does whose CHAP credentials are a project's."""

    def accept_transfer(self, volume: VolumeRef, new_user: str, new_project: str) -> ProviderState | None:
        """Called once a project has accepted the volume, which has no attachments; again after a crash.

        What is to be kept of the object from now on; None: what was kept before. Called with the owner from before to take
        it back, with the state of the call that is taken back where that was kept.
        """
