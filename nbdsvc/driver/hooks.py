"""Optional calls of a driver: at a connection, at a start, and before the owner of a file is changed."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from nbdsvc.driver.refs import SnapshotRef, VolumeRef

# The update for an object whose id in the backend has changed: {"id": ..., "provider_id": ...}.
ProviderUpdate = Mapping[str, Any]


@runtime_checkable
class ConnectionDriver(Protocol):
    """A driver that is informed of a volume's initiators, and stores data of each between its connections (S070)."""

    def initialize_connection(
        self, volume: VolumeRef, connector: Mapping[str, Any], initiator_data: Mapping[str, str] | None
    ) -> Mapping[str, Any] | None:
        """Called before the volume is exported to this connector, and again after a crash.

        initiator_data: the values stored for the initiator by earlier calls; None for a connector without an initiator.
        The result may have `initiator_updates` (also spelled `initiator_update`, as Cinder's manager reads it): each
        text of `set_values` is stored under its key, and the keys of `remove_values` are removed. The other items of
        the result are added to the connection_info, unless the transport has the same key; they are stored in rows, so
        no secrets.
        """


@runtime_checkable
class ProviderInfoDriver(Protocol):
    """A driver whose objects may have other ids in the backend after a start (S083)."""

    def update_provider_info(
        self, volumes: Sequence[VolumeRef], snapshots: Sequence[SnapshotRef]
    ) -> tuple[Sequence[ProviderUpdate], Sequence[ProviderUpdate]]:
        """Called after do_setup with all volumes and snapshots of the backend; returns updates of volumes and of
        snapshots.

        Each has `id` and `provider_id`. Updates of unknown ids, and of a snapshot that has a provider_id, are ignored.
        """


@runtime_checkable
class SecureFilesDriver(Protocol):
    """A driver that reports whether files keep their owner (S077). Without the protocol they do not."""

    def secure_file_operations_enabled(self) -> bool:
        """Whether the service must never change the owner of a volume's file or device."""
