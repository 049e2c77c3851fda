"""Groups of volumes, their types and their snapshots, as frozen rows. A field's name is its column's name."""

from dataclasses import dataclass, field
from datetime import datetime

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Snapshot, Volume

# The group type of consistency groups, which are the groups of the older API: made by a migration, never deleted.
CG_TYPE_ID = "d1a3c5e7-0024-4c67-9a55-c0757e4c1900"
CG_TYPE_NAME = "default_cgsnapshot_type"
# Group specs. With the first, a group snapshot that is not consistent fails; with one of the others, groups replicate.
CONSISTENT = "consistent_group_snapshot_enabled"
REPLICATED = ("group_replication_enabled", "consistent_group_replication_enabled")


def is_true(specs: dict[str, str], *keys: str) -> bool:
    """Whether one of these specs demands its capability (`<is> True`)."""
    return any(specs.get(key, "").strip().lower() == "<is> true" for key in keys)


@dataclass(frozen=True)
class GroupType:
    """A kind of group that users choose; its group specs steer the backend. Private types list their projects."""

    id: str
    name: str
    description: str | None = None
    is_public: bool = True
    group_specs: dict[str, str] = field(default_factory=dict)
    projects: list[str] = field(default_factory=list)
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Group:
    """Volumes of one backend that are snapshotted, replicated and deleted together. `volume_types`: ids of the types that
    its volumes may have. `group_snapshot_id`, `source_group_id`: the source of its volumes.
    """

    id: str
    project_id: str
    user_id: str
    status: str
    host: str
    backend: str
    group_type_id: str
    volume_types: list[str]
    name: str | None = None
    description: str | None = None
    availability_zone: str = "nova"
    group_snapshot_id: str | None = None
    source_group_id: str | None = None
    replication_status: str = "disabled"
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None

    @property
    def full_name(self) -> str:
        """host@backend, where all its volumes are."""
        return names.join_host(self.host, self.backend)

    @property
    def is_consistency_group(self) -> bool:
        """Whether it belongs to the older API."""
        return self.group_type_id == CG_TYPE_ID


@dataclass(frozen=True)
class GroupSnapshot:
    """The snapshots of all volumes of a group, taken together."""

    id: str
    project_id: str
    user_id: str
    group_id: str
    group_type_id: str
    status: str
    name: str | None = None
    description: str | None = None
    created_at: datetime = field(default_factory=clock.now)
    updated_at: datetime | None = None


def check_not_grouped(volume: Volume, action: str) -> None:
    """InvalidInput for a volume that is in a group: what this action does would take it out of the group, or away."""
    if volume.group_id is not None:
        reason = f"it is in group {volume.group_id}, and cannot {action}: remove it from the group first"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)


def check_not_of_group(snapshot: Snapshot, action: str) -> None:
    """InvalidInput for a snapshot that is a part of a group snapshot."""
    if snapshot.group_snapshot_id is not None:
        whole = snapshot.group_snapshot_id
        reason = f"it is a part of group snapshot {whole}, and cannot {action}: delete that as a whole"
        raise errors.InvalidInput(field="snapshot", value=snapshot.id, reason=reason)
