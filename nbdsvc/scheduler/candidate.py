"""The facts of a pool for the scheduler, and the requirements of a new volume."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nbdsvc.driver import PoolStats
from nbdsvc.model import names
from nbdsvc.scheduler import extra_specs


@dataclass(frozen=True)
class Candidate:
    """A pool in which a volume may be placed."""

    host: str
    backend: str
    pool: PoolStats
    zone: str
    # up: the backend reports in time and works; enabled: it takes new volumes.
    up: bool
    enabled: bool
    # Bytes that new volumes may still have, less volumes since the last report; infinite if the pool reports no number.
    room: float
    # Bytes promised to volumes, including those since the last report.
    promised: int = 0
    # The capabilities that the backend reported, by the names in extra specs: storage_protocol, multiattach, ...
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    # The expressions of the backend.
    filter_function: str | None = None
    goodness_function: str | None = None
    # Why a volume that is moved cannot get here from its host; empty where it can, and for a new volume.
    out_of_reach: str = ""
    # The cluster whose hosts see the pool; empty: this host alone does.
    cluster: str = ""
    # Bytes promised to the volumes that this host serves there.
    served: int = 0
    # The transports that keep clients to limits; none where a host of an older version reported.
    limiting: tuple[str, ...] = ()

    @property
    def storage(self) -> str:
        """What the hosts that see the pool call it: cluster@backend#pool; host@backend#pool of a host's own."""
        return names.join_host(self.cluster or self.host, self.backend, self.pool.name)

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
        """The transports of the backend, best first."""
        found = self.capabilities.get("storage_protocol")
        return found if isinstance(found, list) and found else [found]


@dataclass(frozen=True)
class Nearness:
    """The places that hints require. same_backends: any of these host@backend; local_hosts: any of these; None: all."""

    same_backends: frozenset[str] | None = None
    # Backends (host@backend) that are excluded.
    different_backends: frozenset[str] = frozenset()
    local_hosts: frozenset[str] | None = None

    def to_json(self) -> dict[str, list[str]]:
        """The requirements as JSON; empty without any."""
        return {name: sorted(found) for name, found in vars(self).items() if found is not None and found != frozenset()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Iterable[str]]) -> "Nearness":
        """Read the result of `to_json`."""
        return cls(**{name: frozenset(found) for name, found in stored.items()})


@dataclass(frozen=True)
class Request:
    """The requirements of a new volume."""

    # Size of the volume in bytes.
    size: int
    zone: str
    # The extra specs of the volume's type.
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    multiattach: bool = False
    # Pools and backends that are not to be tried (again): host, host@backend or host@backend#pool.
    attempted: frozenset[str] = frozenset()
    near: Nearness = Nearness()
    # The seed of the chance weigher.
    seed: str = ""
    # The QoS specs of the volume's type, for any consumer.
    qos: Mapping[str, str] = field(default_factory=dict)
    # Whether they have limits that exports are to keep its clients to.
    limited: bool = False

    @cached_property
    def demands(self) -> Mapping[str, str]:
        """The extra specs that a pool has to meet, without their scope; found once, and not for each pool."""
        return extra_specs.demands(self.extra_specs)
