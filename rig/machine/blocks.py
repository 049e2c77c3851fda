"""Blocks of the oracle on a host's device: written through its page cache, read past it."""

import struct

from rig.agent import Agent
from rig.machine import oracle

HEADER = 16
# Seconds. A storage host may take minutes to return from a power cut in emulation, and I/O waits for it.
IO_SECONDS = 600


def write(agent: Agent, device: str, writes: list[tuple[int, int]], *, flush: bool) -> None:
    """Write (slot, value) blocks in order; with `flush` they are durable. HostFailed when the device refuses."""
    plan = [(oracle.offset(slot), oracle.block(slot, value)[:HEADER].hex()) for slot, value in writes]
    agent.python(_WRITE, timeout=IO_SECONDS, device=device, plan=plan, flush=flush)


def zero(agent: Agent, device: str, slot: int) -> None:
    """Let the device zero one block (BLKZEROOUT). HostFailed when the device refuses."""
    where = ["-o", str(oracle.offset(slot)), "-l", str(oracle.BLOCK)]
    agent.run("blkdiscard", "-f", "-z", *where, device, timeout=IO_SECONDS)
    agent.run("blockdev", "--flushbufs", device, timeout=IO_SECONDS)


def read(agent: Agent, device: str, slots: list[int]) -> dict[int, int | None]:
    """The value at each slot; None for a block that was not written there, or when the block behind it is not zeros.

    The block behind a slot's is never written. It is in the same allocation, so that it shows old bytes of the pool.
    """
    found = agent.python(_READ, timeout=IO_SECONDS, device=device, places=[oracle.offset(slot) for slot in slots])
    return {slot: _value(slot, text) for slot, text in zip(slots, found, strict=True)}


def _value(slot: int, text: str | None) -> int | None:
    if text is None:
        return None
    value, place = struct.unpack(">QQ", bytes.fromhex(text))
    if value == 0:
        return 0 if place == 0 else None
    return int(value) if place == slot else None


_WRITE = """
import os
def main(device, plan, flush):
    fd = os.open(device, os.O_WRONLY)
    try:
        for place, header in plan:
            os.pwrite(fd, bytes.fromhex(header) * 256, place)
        if flush:
            os.fsync(fd)
    finally:
        os.close(fd)
"""
_READ = """
import mmap, os
def main(device, places):
    fd, buffer, found = os.open(device, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 8192), []
    try:
        for place in places:
            if os.preadv(fd, [buffer], place) != 8192:
                raise EOFError(f"{device} ends before {place}")
            header = buffer[:16]
            found.append(header.hex() if buffer[:] == header * 256 + bytes(4096) else None)
    finally:
        os.close(fd)
    return found
"""
