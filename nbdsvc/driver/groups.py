"""The protocols of groups of volumes: consistent by the backend itself, and replicated together.

A driver without them gets the service's own groups: a snapshot of each volume, taken while the writers of all of them are
held. Methods return updates as in Cinder: `model_update` is a mapping with `status`, entries of the others are mappings
with `id` and `status`, and with what else is to be kept of the object (`provider_id`, `provider_location`, `driver_data`).
None, or a tuple of None, is success. After an error everything that the call was about is `error`.

A repeated call after a crash ends in the same state, as of every method (see nbdsvc.driver).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from nbdsvc.driver.refs import SnapshotRef, VolumeRef

Update = Mapping[str, Any] | None
Updates = Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class GroupRef:
    """The facts of a group that a driver gets: its id, and the group specs of its type."""

    id: str
    group_specs: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class GroupSnapshotRef:
    """The facts of a group snapshot that a driver gets: its id, and its group."""

    id: str
    group: GroupRef


@runtime_checkable
class GroupDriver(Protocol):
    """A driver whose backend keeps groups, and takes snapshots of all volumes of one at the same moment (S091)."""

    def create_consistencygroup(self, group: GroupRef) -> Update:
        """Make a group without volumes (S107)."""

    def delete_consistencygroup(self, group: GroupRef, volumes: Sequence[VolumeRef]) -> tuple[Update, Updates]:
        """Remove the group with its volumes (S110). An entry with the status `deleted`: this volume is gone, also where the
        whole failed. Entries with `error` or `error_deleting` make the whole fail. Called also, without volumes, for a group
        whose creation ended without a word: it may not be there.
        """

    def update_consistencygroup(
        self, group: GroupRef, add_volumes: Sequence[VolumeRef], remove_volumes: Sequence[VolumeRef]
    ) -> tuple[Update, Updates, Updates]:
        """Take volumes in and let others go; they may be in use (S112)."""

    def create_consistencygroup_from_src(
        self,
        group: GroupRef,
        volumes: Sequence[VolumeRef],
        cgsnapshot: GroupSnapshotRef | None,
        snapshots: Sequence[SnapshotRef],
        source_cg: GroupRef | None,
        source_vols: Sequence[VolumeRef],
        owner: str,
    ) -> tuple[Update, Updates]:
        """Make a group and its volumes, each with the bytes of the snapshot, or of the volume, at its place in the list
        (S111). One of the two sources is given. Without an error it is a success.
        """

    def create_cgsnapshot(
        self, cgsnapshot: GroupSnapshotRef, snapshots: Sequence[SnapshotRef], owner: str
    ) -> tuple[Update, Updates]:
        """Make these snapshots at one moment, with all writes from before this call (S108). A repeated call may not keep
        snapshots of another moment. An entry with `error` makes the whole fail, and the other entries are kept.
        """

    def delete_cgsnapshot(
        self, cgsnapshot: GroupSnapshotRef, snapshots: Sequence[SnapshotRef]
    ) -> tuple[Update, Updates]:
        """Remove these snapshots (S109). Entries as of delete_consistencygroup. Called also where making them was cancelled,
        or ended without a word: some may not be there.
        """


@runtime_checkable
class GroupReplicationDriver(Protocol):
    """A driver that replicates all volumes of a group together. Updates may have `replication_status`, which is otherwise
    that of the request's success, or `error`.
    """

    def enable_replication(self, group: GroupRef, volumes: Sequence[VolumeRef]) -> tuple[Update, Updates]:
        """Begin to replicate, or go on."""

    def disable_replication(self, group: GroupRef, volumes: Sequence[VolumeRef]) -> tuple[Update, Updates]:
        """Stop to replicate; the replicas stay as they are."""

    def failover_replication(
        self, group: GroupRef, volumes: Sequence[VolumeRef], secondary_backend_id: str | None
    ) -> tuple[Update, Updates]:
        """Let this target serve the volumes: `location` is there from now on. None: the driver chooses it; DEFAULT_TARGET:
        back to the backend itself. Raises InvalidReplicationTarget, and then nothing was changed.
        """
