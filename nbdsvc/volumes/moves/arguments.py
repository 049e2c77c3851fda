"""The arguments of operations that move a volume."""

from dataclasses import dataclass, field

from nbdsvc.operations.operation_type import IF_SET


@dataclass(frozen=True)
class MoveArgs:
    """Arguments of `volume.migrate` and `volume.retype`; the destination is in the row of the volume's second place.

    source, destination: of a move between two hosts, as `host@backend`, which says where its steps run.
    """

    volume_id: str
    force_host_copy: bool = False
    lock_volume: bool = True
    """Whether its status keeps other commands away; else they end the move."""
    source: str = field(default="", metadata=IF_SET)
    destination: str = field(default="", metadata=IF_SET)
    snapshot_ids: tuple[str, ...] = field(default=(), metadata=IF_SET)
    """Snapshots that go with it, within a cluster."""
