"""The arguments of operations that move a volume."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MoveArgs:
    """Arguments of `volume.migrate` and `volume.retype`; the destination is in the row of the volume's second place."""

    volume_id: str
    force_host_copy: bool = False
    lock_volume: bool = True
    """Whether its status keeps other commands away; else they end the move."""
