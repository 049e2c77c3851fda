"""What all uploads have, wherever the image goes: the request, what they lock, and the volume's status afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import states
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.store import transitions

# Images go over networks and are read more often than written: zlib, which every reader of qcow2 understands.
COMPRESSION = "zlib"


@dataclass(frozen=True)
class UploadVolumeRequest:
    """The image to make of a volume."""

    name: str
    disk_format: str = "raw"
    """raw or qcow2."""
    visibility: str = "private"
    """As os-volume_upload_image has it; public: by an administrator only."""
    protected: bool = False
    force: bool = False
    """Also of a volume in use."""


class OfVolume(Protocol):
    """Arguments of an upload. in_use: the volume is attached while it is copied."""

    @property
    def volume_id(self) -> str:
        """Which volume."""

    @property
    def in_use(self) -> bool:
        """Whether it is attached."""


def locks_of(kind: str) -> Callable[[OfVolume], list[Lock]]:
    """For OperationType.locks: those of the volume, which is only read."""
    return lambda args: locks(f"{kind} in use" if args.in_use else kind, volume=args.volume_id)


def succeed(conn: sa.Connection, _operation: Operation, args: OfVolume) -> None:
    """The volume has its status of before."""
    transitions.finish_volume(conn, args.volume_id, "uploading", states.PREVIOUS)


def fail(conn: sa.Connection, _operation: Operation, args: OfVolume, _error: errors.Error) -> None:
    """The volume is as it was: it was only read."""
    transitions.finish_volume(conn, args.volume_id, "uploading", states.PREVIOUS)
