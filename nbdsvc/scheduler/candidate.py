"""A pool as the scheduler sees it, and what a new volume demands of it."""

from collections.abc import Iterable, Mapping
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
    # Bytes that may still be promised to new volumes, those since its report counted; infinite where it has no number.
    room: float
    # Bytes promised to volumes, those since its report counted.
    promised: int = 0
    # What the backend reported, as types name it: storage_protocol, multiattach, ...
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    # Expressions that the operator set for the backend.
    filter_function: str | None = None
    goodness_function: str | None = None

    @property
    def full_name(self) -> str:
        """host@backend#pool."""
        return names.join_host(self.host, self.backend, self.pool.name)

    @property
    def backend_name(self) -> str:
        """host@backend."""
        return names.join_host(self.host, self.backend)

    @property
    def protocols(self) -> list[Any]:
        """The transports of its backend, best first."""
        found = self.capabilities.get("storage_protocol")
        return found if isinstance(found, list) and found else [found]


@dataclass(frozen=True)
class Nearness:
    """Where hints want a volume. same_backends: one of these host@backend; local_hosts: one of these; None: any."""

    same_backends: frozenset[str] | None = None
    # None of these host@backend.
    different_backends: frozenset[str] = frozenset()
    local_hosts: frozenset[str] | None = None

    def to_json(self) -> dict[str, list[str]]:
        """What it demands; empty where that is nothing."""
        return {name: sorted(found) for name, found in vars(self).items() if found is not None and found != frozenset()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Iterable[str]]) -> "Nearness":
        """What `to_json` returned."""
        return cls(**{name: frozenset(found) for name, found in stored.items()})


@dataclass(frozen=True)
class Request:
    """The requirements of a new volume."""

    # Bytes.
    size: int
    zone: str
    # Of the volume's type.
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    multiattach: bool = False
    # Pools and backends that shall not be tried (again): host, host@backend or host@backend#pool.
    attempted: frozenset[str] = frozenset()
    near: Nearness = Nearness()
    # Decides between pools where the chance weigher is used.
    seed: str = ""
    # Of the volume's type, whoever consumes them.
    qos: Mapping[str, str] = field(default_factory=dict)
