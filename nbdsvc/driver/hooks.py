"""Calls that a driver gets where it wants them: at a connection, at a start, and before the owner of a file is changed."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from nbdsvc.driver.refs import SnapshotRef, VolumeRef

# The update for an object whose id in the backend has changed: {"id": ..., "provider_id": ...}.
ProviderUpdate = Mapping[str, Any]


@runtime_checkable
class ConnectionDriver(Protocol):
    """A driver that has to know which initiators use a volume, and keeps data of each between its connections (S070)."""

    def initialize_connection(
        self, volume: VolumeRef, connector: Mapping[str, Any], initiator_data: Mapping[str, str] | None
    ) -> Mapping[str, Any] | None:
        """Called before the volume is exported to this connector, and again after a crash.

        initiator_data: what earlier calls have kept of the initiator; None for a connector without one. May return
        `initiator_updates` (also spelled `initiator_update`, as Cinder's manager reads it): `set_values` are kept, each
        text under its key, and the keys of `remove_values` are forgotten. Whatever else it returns is added to the
        connection_info, where the transport has no such key; never a secret, because rows keep it.
        """


@runtime_checkable
class ProviderInfoDriver(Protocol):
    """A driver whose objects may have other ids after a start (S083)."""

    def update_provider_info(
        self, volumes: Sequence[VolumeRef], snapshots: Sequence[SnapshotRef]
    ) -> tuple[Sequence[ProviderUpdate], Sequence[ProviderUpdate]]:
        """Called after do_setup with all volumes and snapshots of the backend: updates of either, `id` and `provider_id`.

        Ids that are not among these are ignored, and so is the provider_id of a snapshot that has one.
        """


@runtime_checkable
class SecureFilesDriver(Protocol):
    """A driver that says whether its files are used by the user that they belong to (S077). One without it: no."""

    def secure_file_operations_enabled(self) -> bool:
        """True: the owner of a volume's file or device is never changed."""
