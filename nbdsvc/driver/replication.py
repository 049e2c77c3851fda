"""The protocols of replication: of single volumes (Cinder's version 1), and of a whole backend that fails over (2.1).

A driver replicates volumes whose type requires it (`is_replicated`), from their creation on: each method that makes
such a volume returns a ProviderState with `replication`, whose status is `copying`. Later methods return updates as in
Cinder: mappings with `replication_status`, `replication_extended_status` and `replication_driver_data`.

    copying         the replica is not consistent yet
    active          the replica is consistent, and receives all writes
    active-stopped  the replication is stopped, the replica is consistent
        inactive        the replication is stopped, the replica is not consistent: the old volume after a promotion
    error           the replica is lost
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState

# The update of one volume: {"volume_id": id, "updates": {...}}.
VolumeUpdate = Mapping[str, Any]
# The target that means the backend itself, for a failback (a value of Cinder that its documents do not mention).
DEFAULT_TARGET = "default"


@runtime_checkable
class ReplicaDriver(Protocol):
    """A driver whose volumes have replicas that can be promoted one by one. Called only for volumes with a replica."""

    def get_replication_status(self, volume: VolumeRef) -> Mapping[str, Any]:
        """The update of a volume. Called at intervals (S101)."""

    def promote_replica(self, volume: VolumeRef) -> Mapping[str, Any]:
        """Stop the replication and make the replica the volume: `location` is the replica's from now on (S102).

        The update's status is `inactive`; a repeated call returns the same. Raises ReplicationError when the replica
        cannot be used; the volume is unchanged then.
        """

    def reenable_replication(self, volume: VolumeRef) -> Mapping[str, Any]:
        """Replicate again from the volume's present place; the update has any of the five statuses (S103)."""

    def create_replica_test_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """A volume with the bytes of the replica of `source`; the replica does not change (S104). ReplicationError."""


@runtime_checkable
class ReplicatedDriver(Protocol):
    """A driver whose backend can be served from another site."""

    @property
    def replication_targets(self) -> Sequence[str]:
        """The ids of the backend's replication targets, the preferred one first."""

    def set_active_backend(self, active_backend_id: str) -> None:
        """Set the target that serves; empty: the backend itself. Called before do_setup, and after each failover."""

    def failover_host(
        self, volumes: Sequence[VolumeRef], secondary_id: str | None
    ) -> tuple[str, Sequence[VolumeUpdate]]:
        """Fail all volumes of the backend over to this target. None: the driver chooses one. DEFAULT_TARGET: fail back
        to the backend itself. The first site may be gone (S086).

        Returns the target, and updates of volumes, also of `status`: `error` for a volume without a replica at the
        target, and another status for a volume that is usable again. A repeated call with the same arguments returns
        the same.

        Raises UnableToFailOver; InvalidReplicationTarget when there is no such target, and nothing was changed. After
        any other error it is unknown what was changed.
        """
