"""Reading ahead: the same bytes in any order, from few requests where reads are in order, and bounded."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.datapath.source import CALLBACK_THREADS
from nbdsvc.images.readahead import KEPT, LAST, ReadAhead
from nbdsvc.units import KiB, MiB

CONTENT = random.Random(1).randbytes(24 * MiB)


class Server:
    """Records the requests; fails for the offsets in `broken`."""

    def __init__(self) -> None:
        self.requested: list[tuple[int, int]] = []
        self.broken: set[int] = set()

    def fetch(self, offset: int, length: int) -> bytes:
        self.requested.append((offset, length))
        if offset + length > len(CONTENT) or any(offset <= at < offset + length for at in self.broken):
            raise errors.ReadFailed(source="it", offset=offset, reason="no answer")
        return CONTENT[offset : offset + length]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 3 * MiB)), max_size=30))
def test_any_reads_give_the_bytes(reads: list[tuple[int, int]]) -> None:
    """In any order, from four threads, each read has exactly its bytes, and little is kept."""
    ahead = ReadAhead(Server().fetch, len(CONTENT))
    with ThreadPoolExecutor(4) as pool:
        wanted = [(at, min(length, len(CONTENT) - at)) for at, length in reads]
        found = list(pool.map(lambda read: ahead.pread(*read), wanted))
    assert found == [CONTENT[at : at + length] for at, length in wanted]
    assert sum(window.length for window in ahead._windows) <= KEPT * LAST


@pytest.mark.parametrize(("step", "gap"), [(30 * KiB, 0), (64 * KiB, 4 * KiB), (MiB, 128 * KiB)])
def test_reads_in_order_become_few_requests(step: int, gap: int) -> None:
    """Nothing is fetched twice, and 24 MiB need about a dozen requests."""
    server = Server()
    ahead = ReadAhead(server.fetch, len(CONTENT))
    for at in range(0, len(CONTENT) - step, step + gap):
        assert ahead.pread(at, step) == CONTENT[at : at + step]
    assert len(server.requested) <= 16
    assert sum(length for _, length in server.requested) <= len(CONTENT)


def test_as_many_readers_as_a_copy_has_push_nothing_out() -> None:
    """Eight threads of a copy, each in order in a chunk of its own, are not in each other's way."""
    server, chunk, step = Server(), 3 * MiB, 64 * KiB
    ahead = ReadAhead(server.fetch, len(CONTENT))
    for within in range(0, chunk, step):
        for reader in range(CALLBACK_THREADS):
            at = reader * chunk + within
            assert ahead.pread(at, step) == CONTENT[at : at + step]
    assert len(server.requested) <= 64
    # A window does not know where its reader's chunk ends, so ends of chunks are fetched twice.
    assert sum(length for _, length in server.requested) <= 1.4 * len(CONTENT)


def test_scattered_reads_stay_small() -> None:
    """A reader that jumps does not pay for order that it does not have."""
    server = Server()
    ahead = ReadAhead(server.fetch, len(CONTENT))
    for at in (20 * MiB, 3 * MiB, 11 * MiB, 7 * MiB, 16 * MiB):
        assert ahead.pread(at, KiB) == CONTENT[at : at + KiB]
    assert [length for _, length in server.requested] == [64 * KiB] * 5


def test_a_failure_is_told_and_tried_again() -> None:
    """The error of a fetch reaches its readers, also that of one ahead of them; afterwards the file can be read."""
    server = Server()
    ahead = ReadAhead(server.fetch, len(CONTENT))
    server.broken = {10 * MiB}
    reached = 0
    with pytest.raises(errors.ReadFailed):
        for at in range(0, len(CONTENT), 32 * KiB):
            reached = at
            assert ahead.pread(at, 32 * KiB) == CONTENT[at : at + 32 * KiB]
    assert reached <= 10 * MiB
    server.broken = set()
    assert ahead.pread(reached, MiB) == CONTENT[reached : reached + MiB]
    with pytest.raises(errors.ReadFailed):
        ahead.pread(len(CONTENT) - 1, 2)


def test_one_window_is_fetched_once_for_all_who_wait() -> None:
    """Eight threads that want the same bytes at once are one request."""
    server, gate = Server(), threading.Barrier(8)
    ahead = ReadAhead(server.fetch, len(CONTENT))

    def read(_: int) -> bytes:
        gate.wait(10)
        return ahead.pread(5 * MiB, 64 * KiB)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {CONTENT[5 * MiB : 5 * MiB + 64 * KiB]}
    assert len(server.requested) == 1
