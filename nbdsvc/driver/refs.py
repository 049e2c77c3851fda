"""What a driver gets to know of a volume or a snapshot."""

from dataclasses import dataclass, field

from nbdsvc.driver.state import ProviderState


@dataclass(frozen=True)
class VolumeRef:
    """What a driver gets to know of a volume: its id, its size in bytes and the extra specs of its type."""

    id: str
    size: int
    extra_specs: dict[str, str] = field(default_factory=dict, hash=False)
    state: ProviderState | None = field(default=None, compare=False)
    """What the driver returned when the object was made; None before, where it returned nothing, and where it was killed."""


@dataclass(frozen=True)
class SnapshotRef:
    """What a driver gets to know of a snapshot: its id, its volume's id and the volume's size when it was taken."""

    id: str
    volume_id: str
    size: int
    state: ProviderState | None = field(default=None, compare=False)
    """See VolumeRef.state."""
    volume_state: ProviderState | None = field(default=None, compare=False)
    """The state of its volume."""
