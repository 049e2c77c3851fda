"""What a driver gets to know of a volume or a snapshot."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class VolumeRef:
    """What a driver gets to know of a volume: its id, its size in bytes and the extra specs of its type."""

    id: str
    size: int
    extra_specs: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SnapshotRef:
    """What a driver gets to know of a snapshot: its id, its volume's id and the volume's size when it was taken."""

    id: str
    volume_id: str
    size: int
