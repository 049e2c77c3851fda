"""What a disk must read as: slots of one block each, and for each the values that it may have.

A write is seen by its own host at once, but is only guaranteed to other hosts after a flush was acknowledged. What was not
flushed when its host was lost, or when a snapshot was taken, may be there or not: each of its values is allowed, and
nothing else. Once it was seen, it is settled.
"""

import struct
from dataclasses import dataclass, field

BLOCK = 4096
# 64 places in each GiB: apart from each other by more than a thin chunk, so that each has an allocation of its own.
SLOTS_PER_GIB = 64
STRIDE = (1 << 30) // SLOTS_PER_GIB


def block(slot: int, value: int) -> bytes:
    """The block that stands for a value at a slot; value 0 is an unwritten block: zeros."""
    return struct.pack(">QQ", value, slot) * (BLOCK // 16) if value else bytes(BLOCK)


def offset(slot: int) -> int:
    """The offset of a slot on the disk, in bytes."""
    return slot * STRIDE


@dataclass
class Disk:
    """size: GiB. newest: slot -> value as its host sees it. flushed: as of the last flush. since: values written after it."""

    size: int
    newest: dict[int, int] = field(default_factory=dict)
    flushed: dict[int, int] = field(default_factory=dict)
    since: dict[int, list[int]] = field(default_factory=dict)
    open: dict[int, set[int]] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """The number of slots."""
        return self.size * SLOTS_PER_GIB

    def write(self, slot: int, value: int) -> None:
        """Record that the disk's host wrote this value to the slot, without a flush."""
        self.since.setdefault(slot, []).append(value)
        self.newest[slot] = value

    def flush(self) -> None:
        """All writes until now are durable."""
        for slot in self.since:
            self.flushed[slot] = self.newest[slot]
            self.open.pop(slot, None)
        self.since = {}

    def lose_cache(self) -> None:
        """The host that wrote is gone with what it had not flushed."""
        for slot, values in self.since.items():
            self.open.setdefault(slot, {self.flushed.get(slot, 0)}).update(values)
        self.since = {}
        self.newest = dict(self.flushed)

    def copy(self, size: int | None = None) -> "Disk":
        """What a snapshot of this moment, or a clone, must read as."""
        made = Disk(size or self.size, dict(self.newest), dict(self.flushed), {s: list(v) for s, v in self.since.items()},
                    {s: set(v) for s, v in self.open.items()})  # fmt: skip
        made.lose_cache()
        return made

    def allowed(self, slot: int) -> set[int]:
        """The values that a slot may have now."""
        if slot in self.open and slot not in self.since:
            return self.open[slot]
        return {self.newest.get(slot, 0)}

    def wrong(self, slot: int, seen: int | None) -> str | None:
        """What is wrong with a value that was read; None when it is allowed, which settles it. seen None: garbage."""
        allowed = self.allowed(slot)
        if seen is None or seen not in allowed:
            return f"slot {slot} reads as {'garbage' if seen is None else seen} and not as {sorted(allowed)}"
        if slot in self.open and slot not in self.since:
            del self.open[slot]
            self.newest[slot] = self.flushed[slot] = seen
        return None

    def written(self) -> list[int]:
        """Slots that were ever written."""
        return sorted({*self.newest, *self.flushed, *self.since, *self.open})
