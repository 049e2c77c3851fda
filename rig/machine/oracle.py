"""The expected content of a disk: slots of one block each, and for each slot the values that it may have.

A host reads its own write at once; other hosts are only guaranteed to read it after an acknowledged flush. A write that
was not flushed when its host was lost, or when a snapshot was taken, may be there or not: each of its values is
allowed, and no other. The first value that is read is the only one allowed from then on.
"""

import struct
from dataclasses import dataclass, field

BLOCK = 4096
# 64 slots in each GiB: further apart than the size of a thin chunk, so that each has an allocation of its own.
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
    """A disk. size: GiB. newest: slot -> value for its host. flushed: at the last flush. since: values written after
    it.

    open: the allowed values of slots that were not flushed when their host was lost.
    """

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
        """Record that all writes until now are durable."""
        for slot in self.since:
            self.flushed[slot] = self.newest[slot]
            self.open.pop(slot, None)
        self.since = {}

    def lose_cache(self) -> None:
        """Record that the host was lost with its unflushed writes."""
        for slot, values in self.since.items():
            self.open.setdefault(slot, {self.flushed.get(slot, 0)}).update(values)
        self.since = {}
        self.newest = dict(self.flushed)

    def copy(self, size: int | None = None) -> "Disk":
        """The expected content of a snapshot or clone made now."""
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
        """The fault of a value that was read; None when it is allowed, and then no other is. seen None: garbage."""
        allowed = self.allowed(slot)
        if seen is None or seen not in allowed:
            return f"slot {slot} reads as {'garbage' if seen is None else seen} and not as {sorted(allowed)}"
        if slot in self.open and slot not in self.since:
            del self.open[slot]
            self.newest[slot] = self.flushed[slot] = seen
        return None

    def written(self) -> list[int]:
        """The slots that were ever written."""
        return sorted({*self.newest, *self.flushed, *self.since, *self.open})
