"""A pool as the scheduler sees it, and the requirements that a pool has to meet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.driver import PoolStats
from nbdsvc.model import names


@dataclass(frozen=True)
class Candidate:
    """A pool that a volume may go to."""

    host: str
    backend: str
    pool: PoolStats
    zone: str
    # Whether its backend reports, works, and takes new volumes.
    up: bool
    enabled: bool
    # Bytes that may still be promised to new volumes, those since its report counted.
    room: int
    # What the backend reported, as types name it: storage_protocol, multiattach, ...
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """host@backend#pool."""
        return names.join_host(self.host, self.backend, self.pool.name)


@dataclass(frozen=True)
class Request:
    """The requirements of a new volume."""

    # Bytes.
    size: int
    zone: str
    # Of the volume's type.
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    multiattach: bool = False
