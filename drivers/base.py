"""The common part of our drivers: name, version, functions of the scheduler, and cached statistics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

from nbdsvc import errors
from nbdsvc.driver import DriverFacts, PoolStats, VolumeRef, prefixed_property
from nbdsvc.units import human

log = structlog.get_logger(__name__)

# Cinder's key in the reference of an object that is to be managed.
SOURCE_NAME = "source-name"


Pool = TypeVar("Pool")
Found = TypeVar("Found")


class BaseDriver(ABC, Generic[Pool]):
    """`pools`: what the driver works on, by name. One that is sick stops no other. See nbdsvc/driver/ for the contract."""

    VERSION = "1.0"
    # The prefix of the driver's own extra specs; None: it has none.
    vendor: str | None = None

    def __init__(
        self,
        name: str,
        pools: Mapping[str, Pool],
        reserved_percentage: int = 0,
        max_over_subscription_ratio: float = 20.0,
        filter_function: str | None = None,
        goodness_function: str | None = None,
    ) -> None:
        self.name = name
        self._pools = dict(pools)
        self._reserved = reserved_percentage
        self._ratio = max_over_subscription_ratio
        self._filter = filter_function
        self._goodness = goodness_function
        self._stats: list[PoolStats] = []

    @property
    @abstractmethod
    def facts(self) -> DriverFacts:
        """What `do_setup` finds out of the backend."""

    @abstractmethod
    def _set_up(self, pool: Pool) -> None:
        """Make what the pool needs. Idempotent."""

    @abstractmethod
    def _check(self, pool: Pool) -> None:
        """ConfigError or BackendUnavailable while the pool cannot serve."""

    @abstractmethod
    def _measure(self, name: str, pool: Pool) -> PoolStats:
        """The pool's statistics, measured now."""

    def do_setup(self) -> None:
        """Set up every pool. The error of the first where none can be."""
        _found, failed = self._tried(lambda _name, pool: self._set_up(pool))
        for name, error in failed.items():
            log.error("a pool cannot be used", backend=self.name, pool=name, reason=str(error))

    def check_for_setup_error(self) -> None:
        """ConfigError or BackendUnavailable while no pool can serve."""
        self._tried(lambda _name, pool: self._check(pool))

    def get_version(self) -> str:
        """The driver's VERSION."""
        return self.VERSION

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """Of each pool: measured with `refresh` and at the first call, otherwise the last ones. A sick one has a fault."""
        if refresh or not self._stats:
            found, failed = self._tried(self._look_at)
            self._stats = [found.get(name) or self._sick(name, failed[name]) for name in self._pools]
        return self._stats

    def _look_at(self, name: str, pool: Pool) -> PoolStats:
        if len(self._pools) > 1:  # for a single pool, check_for_setup_error has reported the fault
            self._check(pool)
        return self._measure(name, pool)

    def _sick(self, name: str, error: errors.Error) -> PoolStats:
        return PoolStats(name, 0, 0, 0, 0, 0, self._reserved, self._ratio, self.facts.thin, fault=str(error))

    def check_room(self, pool: str, needed: int) -> None:
        """OutOfSpace where `needed` bytes more would fill the pool: every volume in it would fail its writes."""
        stats = self._measure(pool, self._at(pool))
        free = stats.writable()
        if needed > free:
            raise errors.OutOfSpace(
                pool=label(self.name, pool), requested=needed, free=int(free),
                reason=f"{human(needed)} are to be written, and {human(max(0, int(free)))} are free",
            )  # fmt: skip

    def watch(self) -> None:
        """Maintain every pool. The error of the first where none can be maintained."""
        _found, failed = self._tried(lambda _name, pool: self._watch(pool))
        for name, error in failed.items():
            log.error("the pool cannot be maintained", backend=self.name, pool=name, reason=str(error))

    def _watch(self, pool: Pool) -> None:
        """Nothing in this pool changes by itself, unless its driver says so."""

    def get_pool(self, volume: VolumeRef) -> str:
        """The pool that the volume names. BackendUnavailable where this backend does not have it."""
        self._at(volume.pool)
        return volume.pool

    def get_filter_function(self) -> str | None:
        """The operator's filter expression; None passes always."""
        return self._filter

    def get_goodness_function(self) -> str | None:
        """The operator's goodness expression; None scores 0."""
        return self._goodness

    def get_prefixed_property(self, property: str | None) -> str | None:
        """The extra spec `vendor:property` of this driver; None without a vendor or a property."""
        return prefixed_property(self.vendor, property)

    def _at(self, pool: str) -> Pool:
        """The pool of this name. BackendUnavailable where this backend does not have it."""
        found = self._pools.get(pool)
        if found is None:
            raise errors.BackendUnavailable(
                backend=self.name, reason=f"it has no pool {pool}, but {', '.join(self._pools)}"
            )
        return found

    def _at_both(self, made: str, source: str) -> Pool:
        """The pool of both. Unsupported where they differ: blocks are shared within a pool."""
        if made != source:
            raise errors.Unsupported(reason=f"pools {source} and {made} of backend {self.name} share no blocks")
        return self._at(made)

    def _tried(
        self, look: Callable[[str, Pool], Found], only: str | None = None
    ) -> tuple[dict[str, Found], dict[str, errors.Error]]:
        """What `look` returns for each pool, or for `only` this, and why it failed. The first error where it always did."""
        found: dict[str, Found] = {}
        failed: dict[str, errors.Error] = {}
        for name, pool in self._pools.items() if only is None else [(only, self._at(only))]:
            try:
                found[name] = look(name, pool)
            except errors.Error as error:
                failed[name] = error
            except OSError as error:
                failed[name] = errors.BackendUnavailable(backend=label(self.name, name), reason=str(error))
        if not found:
            raise next(iter(failed.values()))
        return found, failed


def label(backend: str, pool: str) -> str:
    """The pool as messages name it: a backend's only pool has its name."""
    return backend if pool == backend else f"{backend}#{pool}"


def pool_names(backend: str, single: Any, several: Any, setting: str = "pool", default: Any = None) -> dict[str, Any]:
    """What each pool is, by its name: the value of `setting`, with the backend's name, or what the setting `pools` has.

    ConfigError where that is no table of names and texts, or has none, or both or none of them are set.
    """
    if several is None:
        if not (single or default):
            raise errors.ConfigError(setting=setting, reason="must say where the pool is")
        return {backend: single or default}
    if single:
        raise errors.ConfigError(setting=setting, reason="pools names the pools: set one of the two")
    if not isinstance(several, Mapping) or not several:
        raise errors.ConfigError(setting="pools", reason='must name at least one pool: { a = "..." }')
    for name, value in several.items():
        if not isinstance(name, str) or not name or set(name) & set("@#/"):
            raise errors.ConfigError(setting=f"pools.{name}", reason="a pool's name is not empty and has no @, # or /")
        if not isinstance(value, str | Path) or not str(value):
            raise errors.ConfigError(setting=f"pools.{name}", reason="must say what the pool is")
    return dict(several)


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
    """InvalidInput where the volume's type requires the other kind of provisioning."""
    wanted = {"thin_provisioning_support": thin, "thick_provisioning_support": not thin}
    for key, value in volume.extra_specs.items():
        has = wanted.get(key.removeprefix("capabilities:"))
        if has is not None and (value.strip().lower() == "<is> true") != has:
            kind = "thin" if thin else "thick"
            raise errors.InvalidInput(
                field="volume_type", value=None, reason=f"it asks for {key} {value}, and the object is {kind}"
            )
