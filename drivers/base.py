"""What every driver of ours answers in the same way: its name, version, functions and the statistics that it keeps."""

from abc import ABC, abstractmethod

from nbdsvc import errors
from nbdsvc.driver import PoolStats, VolumeRef
from nbdsvc.units import human

# Cinder's key in the reference of an object that is to be managed.
SOURCE_NAME = "source-name"


class BaseDriver(ABC):
    """`name` is the backend's and its only pool's name. See nbdsvc/driver/ for the contract."""

    VERSION = "1.0"

    def __init__(
        self,
        name: str,
        reserved_percentage: int = 0,
        max_over_subscription_ratio: float = 20.0,
        filter_function: str | None = None,
        goodness_function: str | None = None,
    ) -> None:
        self.name = name
        self._reserved = reserved_percentage
        self._ratio = max_over_subscription_ratio
        self._filter = filter_function
        self._goodness = goodness_function
        self._stats: list[PoolStats] = []

    @abstractmethod
    def _measure(self) -> PoolStats:
        """The pool's statistics, measured now."""

    def get_version(self) -> str:
        """The driver's VERSION."""
        return self.VERSION

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """The only pool's statistics: measured with `refresh` and at the first call, otherwise the last ones."""
        if refresh or not self._stats:
            self._stats = [self._measure()]
        return self._stats

    def check_room(self, needed: int) -> None:
        """OutOfSpace where `needed` bytes more would fill the pool: every volume in it would fail its writes."""
        stats = self._measure()
        free = stats.free - stats.total * stats.reserved_percentage // 100
        if needed > free:
            raise errors.OutOfSpace(
                pool=self.name, requested=needed, free=free,
                reason=f"{human(needed)} are to be written, and {human(max(0, free))} are free",
            )  # fmt: skip

    def watch(self) -> None:  # noqa: B027 - most pools change only when we change them
        """Nothing in this pool changes by itself."""

    def get_pool(self, volume: VolumeRef) -> str:
        """The backend's name, which is also its pool's."""
        return self.name

    def get_filter_function(self) -> str | None:
        """The operator's filter expression; None passes always."""
        return self._filter

    def get_goodness_function(self) -> str | None:
        """The operator's goodness expression; None scores 0."""
        return self._goodness


def source_name(ref: dict[str, str]) -> str:
    """The name in a reference; InvalidInput for one without, or with more than a name."""
    name = ref.get(SOURCE_NAME)
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise bad_reference(ref, f"must be an object with {SOURCE_NAME}, the plain name of something in the pool")
    return name


def bad_reference(ref: dict[str, str], reason: str) -> errors.InvalidInput:
    """The InvalidInput error for a reference to an object that cannot be managed, to be raised by the caller."""
    return errors.InvalidInput(field="ref", value=str(ref)[:120], reason=reason)


def managed(name: str, owner: str) -> errors.Conflict:
    """The Conflict error for an object that operation `owner` manages already, to be raised by the caller."""
    return errors.Conflict(reason=f"{name} is managed already: operation {owner} made it or took it over")


def check_type(volume: VolumeRef, *, thin: bool) -> None:
    """InvalidInput where the volume's type asks for the other kind of provisioning (row S097)."""
    wanted = {"thin_provisioning_support": thin, "thick_provisioning_support": not thin}
    for key, value in volume.extra_specs.items():
        has = wanted.get(key.removeprefix("capabilities:"))
        if has is not None and (value.strip().lower() == "<is> true") != has:
            kind = "thin" if thin else "thick"
            raise errors.InvalidInput(
                field="volume_type", value=None, reason=f"it asks for {key} {value}, and the object is {kind}"
            )
