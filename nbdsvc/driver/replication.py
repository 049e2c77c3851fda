"""The protocols of replication: of single volumes (Cinder's version 1), and of a whole backend that fails over (2.1).

A driver replicates volumes whose type wants it (`is_replicated`), from their creation on: whatever makes such a volume
returns a ProviderState with `replication`, whose status is `copying`. What a driver returns of replicas later are updates
as Cinder has them: mappings with `replication_status`, `replication_extended_status` and `replication_driver_data`.

    copying         the replica is not consistent yet
    active          the replica is consistent, and follows
    active-stopped  on hold, consistent
    inactive        on hold, not consistent: after a promotion the old volume
    error           the replica is lost
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState

# The update of one volume: {"volume_id": id, "updates": {...}}.
VolumeUpdate = Mapping[str, Any]
# In place of a target: back to where the backend was before it failed over (Cinder's word, which its documents do not have).
DEFAULT_TARGET = "default"


@runtime_checkable
class ReplicaDriver(Protocol):
    """A driver whose volumes have replicas that can be promoted one by one. Called of volumes that have a replica."""

    def get_replication_status(self, volume: VolumeRef) -> Mapping[str, Any]:
        """The update of a volume. Called at intervals (S101)."""

    def promote_replica(self, volume: VolumeRef) -> Mapping[str, Any]:
        """Stop the replication, and let the replica be the volume: `location` is the replica's from now on (S102).

        The update says `inactive`; a repeated call returns the same. ReplicationError where the replica cannot be used;
        then the volume is as it was.
        """

    def reenable_replication(self, volume: VolumeRef) -> Mapping[str, Any]:
        """Replicate again from where the volume is now; the update says any of the five statuses (S103)."""

    def create_replica_test_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """A volume with the bytes of the replica of `source`, which is left alone (S104). ReplicationError."""


@runtime_checkable
class ReplicatedDriver(Protocol):
    """A driver whose backend can be served from another site."""

    @property
    def replication_targets(self) -> Sequence[str]:
        """The ids of its targets, the one that it prefers first."""

    def set_active_backend(self, active_backend_id: str) -> None:
        """Which target serves; empty: none, but the backend itself. Called before do_setup, and after each failover."""

    def failover_host(
        self, volumes: Sequence[VolumeRef], secondary_id: str | None
    ) -> tuple[str, Sequence[VolumeUpdate]]:
        """Let this target serve the volumes, which are all of the backend's; None: one that the driver chooses;
        DEFAULT_TARGET: the backend itself again. The first site may be gone (S086).

        Returns the target, and updates of volumes: also `status`, which is `error` of a volume that has no replica there,
        and anything else of one that is back. A repeated call with the same arguments returns the same.

        UnableToFailOver: it cannot be done. InvalidReplicationTarget: there is no such target, and nothing was changed. Any
        other error: what was changed is not known.
        """
