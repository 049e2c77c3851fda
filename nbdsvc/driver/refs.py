"""References: the part of a volume or a snapshot that a driver knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nbdsvc.driver.state import ProviderState


@dataclass(frozen=True)
class VolumeRef:
    """The facts of a volume that a driver gets: id, size in bytes, pool, and the extra specs of the volume's type."""

    id: str
    size: int
    # Name of the pool that holds the volume or is to hold it: one of those that get_volume_stats lists.
    pool: str
    extra_specs: Mapping[str, str] = field(hash=False)
    state: ProviderState | None = field(default=None, compare=False)
    """What the driver returned when the object was made; None before, where it returned nothing, and where it was killed."""


@dataclass(frozen=True)
class SnapshotRef:
    """The facts of a snapshot that a driver gets: its id, the volume's id, the volume's size in bytes when the snapshot
    was taken, and the pool that holds both.
    """

    id: str
    volume_id: str
    size: int
    pool: str
    state: ProviderState | None = field(default=None, compare=False)
    """See VolumeRef.state."""
    volume_state: ProviderState | None = field(default=None, compare=False)
    """The state of its volume."""
