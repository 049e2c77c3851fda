"""The variables of expressions: their names, and their values for a pool and a new volume."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.expressions.values import FaultyExpressionError
from nbdsvc.units import GiB, gigabytes

# Functions, so that a decision over many pools computes only the values that an expression uses. The backend reports
# the other values.
_STATS: dict[str, Callable[[Candidate], Any]] = {
    "host": lambda candidate: candidate.full_name,
    "backend_id": lambda candidate: candidate.backend_name,
    "pool_name": lambda candidate: candidate.pool.name,
    "total_capacity_gb": lambda candidate: gigabytes(candidate.pool.total),
    "free_capacity_gb": lambda candidate: gigabytes(candidate.pool.free),
    "allocated_capacity_gb": lambda candidate: candidate.pool.allocated / GiB,
    "provisioned_capacity_gb": lambda candidate: candidate.promised / GiB,
    "reserved_percentage": lambda candidate: candidate.pool.reserved_percentage,
    "max_over_subscription_ratio": lambda candidate: candidate.pool.max_over_subscription_ratio,
    "total_volumes": lambda candidate: candidate.pool.volumes,
}
STATS = frozenset({*_STATS, "volume_backend_name", "vendor_name", "driver_version", "storage_protocol", "QoS_support"})
VOLUME = frozenset({"size", "multiattach", "availability_zone"})
# Groups whose names depend on a backend's report or a volume type.
_OPEN = frozenset({"capabilities", "extra", "qos"})


def check(names: Mapping[str, int]) -> None:
    """Raise FaultyExpressionError for the first unknown name. names: name -> column."""
    for name, column in names.items():
        group, _, entry = name.partition(".")
        known = {"stats": STATS, "volume": VOLUME}.get(group)
        if known is None and group not in _OPEN:
            groups = ", ".join(sorted({"stats", "volume", *_OPEN}))
            raise FaultyExpressionError(f"column {column}: there is no {name}: variables are of {groups}")
        if known is not None and entry not in known:
            raise FaultyExpressionError(f"column {column}: there is no {name}; {group} has {', '.join(sorted(known))}")


class _Stats(Mapping[str, Any]):
    def __init__(self, candidate: Candidate, capabilities: Mapping[str, Any]) -> None:
        self._candidate, self._capabilities = candidate, capabilities

    def __getitem__(self, name: str) -> Any:
        return _STATS[name](self._candidate) if name in _STATS else self._capabilities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(STATS)

    def __len__(self) -> int:
        return len(STATS)


def of(candidate: Candidate, request: Request, protocol: str | None) -> dict[str, Mapping[str, Any]]:
    """The variables for one pool; `protocol`: the transport that `storage_protocol` names."""
    capabilities = {**candidate.capabilities, "storage_protocol": protocol}
    volume = {
        "size": request.size / GiB,
        "multiattach": request.multiattach,
        "availability_zone": request.zone,
    }
    return {
        "stats": _Stats(candidate, capabilities),
        "capabilities": capabilities,
        "volume": volume,
        "extra": request.extra_specs,
        "qos": request.qos,
    }
