"""What a pool of LVs is: a volume group of thick ones, or a thin pool in a group, with the commands that work on it."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from drivers.lvm.clearing import Sweeper
from drivers.lvm.commands import Commands
from drivers.lvm.facts import LogicalVolume
from drivers.lvm.objects import Objects
from nbdsvc import errors

# Makes the commands on a volume group, with BACKEND or BACKEND#POOL for its messages.
MakeCommands = Callable[[str, str], Commands]


@dataclass(frozen=True)
class LvmPool:
    """One pool. `name`: as in host@backend#pool."""

    name: str
    lvm: Commands
    objects: Objects

    def path(self, name: str) -> Path:
        """/dev/GROUP/NAME of the LV's device, whether it exists or not."""
        return self.lvm.path(name)

    @property
    def place(self) -> str:
        """GROUP, or GROUP/POOL: what no second pool may be."""
        return self.lvm.group

    def places(self) -> frozenset[str]:
        """What the pool is known by: its place, and the same with the group's uuid where the group is there."""
        group, (_, slash, pool) = self.lvm.group_facts(), self.place.partition("/")
        return frozenset({f"lvm {self.place}"} | ({f"lvm {group.uuid}{slash}{pool}"} if group else set()))


@dataclass(frozen=True)
class ThickGroup(LvmPool):
    """A volume group whose LVs have all their extents."""

    sweeper: Sweeper
    # Held while a volume is inactive on purpose, so that nothing activates it.
    asleep: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class ThinPool(LvmPool):
    """A thin pool and its LVs. `thin_pool`: its name in the group."""

    thin_pool: str
    # Whether the group has other pools of this backend.
    shared: bool = False

    def path(self, name: str) -> Path:
        """The same; BackendUnavailable where the group has it in another pool, whose bytes are none of this one."""
        if self.shared:
            self.objects.must_find(name)
        return super().path(name)

    @property
    def place(self) -> str:
        """GROUP/POOL."""
        return f"{self.lvm.group}/{self.thin_pool}"


def split_place(name: str, place: str) -> tuple[str, str]:
    """("GROUP", "POOL" or "") of what the setting of pool `name` has. ConfigError where that names neither."""
    group, slash, pool = place.partition("/")
    if not group or "/" in pool or (slash and not pool):
        raise errors.ConfigError(setting=f"pools.{name}", reason=f"{place!r} is neither a volume group nor GROUP/POOL")
    return group, pool


def shares_group(thin_pool: str, siblings: Iterable[str]) -> Callable[[LogicalVolume], bool]:
    """Which LVs of a group are this thin pool's, where the backend has all of `siblings` in it, the first one first.

    What is in none of them belongs to the first: so a backend's only pool has its whole group, but for what lies in the
    pools of other backends (LvmBase.set_neighbours).
    """
    first, *_others = known = list(siblings)
    others = {each for each in known if each != thin_pool}

    def holds(found: LogicalVolume) -> bool:
        mine = thin_pool in (found.pool, found.name)
        return mine or (thin_pool == first and found.pool not in others and found.name not in others)

    return holds
