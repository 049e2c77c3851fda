"""What is done to a volume besides, so that what is copied, moved or taken back differs from what was there before.

An action on a volume that holds zeros, or the same bytes as its snapshot, shows nothing. So before each copy something is
written, or zeroed, where sizes and offsets go wrong: the first and the last sector, the borders that an extension
leaves, the middle of nowhere; or its digests are recorded, so that the copy has to inherit them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from walk import check, choices
from walk.disk import GiB, content
from walk.world import Volume, World

SECTOR = 512


def season(world: World, volume: Volume, how: int) -> None:
    """One of: nothing, writes, digests, writes and then digests; only what the volume allows now."""
    with undisturbed(world):
        if how % 4 in (1, 3) and volume in choices.writable(world):
            write_ends(world, volume, how // 4)
        if how % 4 in (2, 3) and not volume.attached and not volume.recorded:
            check.verify_digests(world, volume, record=True)


@contextmanager
def undisturbed(world: World) -> Iterator[None]:
    """The service dies, and requests are cancelled, in the action itself and not in what precedes it."""
    kept = world.dies_next, world.cancels_next
    world.dies_next = world.cancels_next = False
    yield
    world.dies_next, world.cancels_next = kept


def write_ends(world: World, volume: Volume, how: int) -> None:
    """The first sector, the last one, and a piece over another border; a third of the times the last of them are zeroed."""
    pieces = _pieces(volume, how // 3)
    with world.borrowed(volume, writes=True) as attached:
        for number, (offset, length) in enumerate(pieces):
            if how % 3 == 2 and number:
                attached.connection.zero(length, offset)
                volume.disk.zero(offset, length)
            else:
                data = content(world.next_value(), offset, length)
                attached.connection.pwrite(data, offset)
                volume.disk.write(offset, data)


def _pieces(volume: Volume, number: int) -> list[tuple[int, int]]:
    """(offset, length). Further borders: each GiB, and one of 64 KiB anywhere."""
    size = volume.disk.bytes
    borders = [*range(GiB, size, GiB), 65536 * (1 + number * 977 % (size // 65536 - 1))]
    border = choices.pick(borders, number)
    ends = [(0, SECTOR), (size - SECTOR, SECTOR)]
    return [ends[number % 2], (border - SECTOR, 2 * SECTOR), ends[1 - number % 2]]
