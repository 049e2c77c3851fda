"""What a backend can do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do, declared once.

    `instant_clone`: clones and snapshots share blocks, so that they cost no copy and may be taken of a volume in use.
    Where it is False, `create_snapshot` makes an object that still has to be filled, `create_cloned_volume` and
    `create_volume_from_snapshot` are never called, and the service copies the bytes through the data path, from volumes
    that are not being written. `instant_snapshot`: snapshots are points in time at once though clones are copied.
    `online_extend`: a volume may grow while exported. `thin`: space is taken when written.
    """

    thin: bool
    instant_clone: bool
    instant_snapshot: bool = False
    online_extend: bool = True
    multiattach: bool = True

    @property
    def point_in_time(self) -> bool:
        """Whether create_snapshot leaves nothing to be filled, also of a volume in use."""
        return self.instant_clone or self.instant_snapshot
