"""Many requests of any alignment in one place of a volume, each seen by the next: what a guest does in a moment."""

import random
import sys

from walk import choices
from walk.choices import action, pick, place
from walk.disk import content
from walk.world import Attached, Violation, Volume, World

sys.path.append("/usr/lib/python3/dist-packages")
import nbd

REQUESTS = 12
# Around the place, so that requests overlap, and meet inside of blocks and of what was written before.
AREA = 3 * 65536
LENGTHS = (1, 511, 512, 513, 4095, 4096, 4097, 12800, 65536, 65537)


@action(4, choices.writable)
def burst(world: World, volume: int, where: int, seed: int) -> str:
    """Writes, zeroes and trims; after each of them all of the place is read."""
    target = choices.near(world, choices.writable(world), volume, choices.involved(world))
    begin, _ = place(target, where, 2, 6)
    area = max(0, min(begin, target.disk.bytes - AREA))
    drawn = random.Random(seed)
    with world.borrowed(target, writes=True) as attached:
        # Something is there: what goes too far has to hit it.
        _write(world, target, attached, area, AREA)
        for _ in range(REQUESTS):
            length = drawn.choice(LENGTHS)
            offset = area + drawn.randrange(AREA - length + 1)
            drawn.choice([_write, _write, _zero, _trim])(world, target, attached, offset, length)
            _compare(target, attached, area)
        attached.connection.flush()
    return f"at {area} of {target.id}"


def _write(world: World, target: Volume, attached: Attached, offset: int, length: int) -> None:
    data = content(world.next_value(), offset, length)
    attached.connection.pwrite(data, offset, nbd.CMD_FLAG_FUA if length % 3 == 0 else 0)
    target.disk.write(offset, data)


def _zero(_world: World, target: Volume, attached: Attached, offset: int, length: int) -> None:
    attached.connection.zero(length, offset, pick([0, nbd.CMD_FLAG_NO_HOLE], offset))
    target.disk.zero(offset, length)


def _trim(_world: World, target: Volume, attached: Attached, offset: int, length: int) -> None:
    """Each byte is zero or what it was."""
    if not attached.connection.can_trim():
        return
    attached.connection.trim(length, offset)
    found, before = bytes(attached.connection.pread(length, offset)), target.disk.read(offset, length)
    if any(new and new != old for new, old in zip(found, before, strict=True)):
        raise Violation(f"volume {target.id}: a trim of {length} bytes at {offset} made something else of them")
    target.disk.write(offset, found)


def _compare(target: Volume, attached: Attached, area: int) -> None:
    found = bytes(attached.connection.pread(AREA, area))
    if text := target.disk.wrong(area, found):
        raise Violation(f"volume {target.id}, as it is served: {text}")
