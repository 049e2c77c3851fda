"""The throttle of the core, by a clock that the test gives: QEMU's buckets, and shares among users."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbdsvc._native import ffi, lib

READ, WRITE = 0, 1
# As the core has them: operations of reads, writes and both, then bytes.
KINDS = (READ, WRITE, 2)


@dataclass
class Limit:
    average: int
    burst: int = 0
    seconds: int = 0

    @property
    def size(self) -> float:
        return self.burst * self.seconds if self.burst else self.average / 10


NONE = Limit(0)


class Throttle:
    """The core's."""

    def __init__(self, limits: dict[int, Limit], operation_size: int = 0) -> None:
        self._throttle = ffi.new("struct nbdsvc_throttle *")
        self.set(limits, operation_size, 1000.0)

    def set(self, limits: dict[int, Limit], operation_size: int = 0, now: float = 1000.0) -> None:
        wanted = ffi.new("struct nbdsvc_limit[]", 6)
        for at, limit in limits.items():
            wanted[at] = (limit.average, limit.burst, limit.seconds)
        lib.nbdsvc_throttle_set(self._throttle, wanted, operation_size, now)

    def take(self, now: float, size: int = 1, direction: int = READ, user: int = 1, more: bool = False) -> float:
        return float(lib.nbdsvc_throttle_take(self._throttle, user, direction, size, more, 1000.0 + now))

    def limits(self) -> bool:
        return bool(lib.nbdsvc_throttle_limits(self._throttle))


class Bucket:
    """As QEMU's, written from its documentation (docs/throttle.txt): over its size, it waits until it has leaked."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.level, self.fast, self.at = limit, 0.0, 0.0, 0.0

    def wait(self, now: float) -> float:
        self.level = max(0.0, self.level - self.limit.average * (now - self.at))
        self.fast = max(0.0, self.fast - self.limit.burst * (now - self.at))
        self.at = now
        slow = max(0.0, (self.level - self.limit.size) / self.limit.average)
        if slow or self.limit.seconds <= 1:
            return slow
        return max(0.0, (self.fast - self.limit.burst / 10) / self.limit.burst)

    def add(self, units: float) -> None:
        self.level += units
        self.fast += units


def limit_of(average: int, more: int, seconds: int) -> Limit:
    return Limit(average, average + more, seconds) if seconds else Limit(average)


LIMITS = st.builds(limit_of, st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 20))
REQUESTS = st.lists(
    st.tuples(st.floats(0, 0.5), st.integers(0, 1 << 22), st.sampled_from([READ, WRITE])), min_size=1, max_size=80
)


@given(st.dictionaries(st.integers(0, 5), LIMITS), st.sampled_from([0, 4096, 1 << 20]), REQUESTS)
def test_it_is_a_bucket_for_each_limit(
    limits: dict[int, Limit], size: int, requests: list[tuple[float, int, int]]
) -> None:
    """A request goes when each bucket of its direction takes it, and else waits for the last of them, to the microsecond."""
    throttle, now = Throttle(limits, size), 0.0
    buckets = {at: Bucket(limit) for at, limit in limits.items()}
    for pause, length, direction in requests:
        now += pause
        mine = {at: bucket for at, bucket in buckets.items() if at % 3 in (direction, 2)}
        expected = max((bucket.wait(now) for bucket in mine.values()), default=0.0)
        waited = throttle.take(now, length, direction)
        assert waited == pytest.approx(expected, rel=1e-6, abs=1e-6)
        if not waited:
            for at, bucket in mine.items():
                bucket.add(length if at >= 3 else max(1, length / size) if size else 1)


@given(LIMITS, st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 1 << 20)), min_size=1, max_size=100))
def test_no_time_gets_more_than_its_share(limit: Limit, requests: list[tuple[float, int]]) -> None:
    """In any interval: no more than the size of the bucket, the average of that time, and the request that goes over it."""
    throttle, now, given_ = Throttle({3: limit}), 0.0, [(0.0, 0)]
    for pause, length in requests:
        now += pause
        if not throttle.take(now, length):
            given_.append((now, length))
    for first in range(len(given_)):
        since = given_[first][0]
        for last in range(first, len(given_)):
            got = sum(length for _, length in given_[first : last + 1])
            most = max(length for _, length in given_[first : last + 1])
            assert got <= limit.size + limit.average * (given_[last][0] - since) + 2 * most + 1e-6 * got


def test_nothing_waits_without_a_limit_of_its_direction() -> None:
    """All zeros has no limit; one of reads leaves writes alone, also while reads wait."""
    throttle = Throttle({})
    assert not throttle.limits()
    assert throttle.take(0, 1 << 30) == 0
    throttle.set({0: Limit(1)})
    assert throttle.limits()
    assert throttle.take(0) == 0
    assert throttle.take(0) > 0
    assert [throttle.take(0, 1 << 30, WRITE) for _ in range(100)] == [0] * 100


def test_a_change_leaves_no_debt_behind() -> None:
    """A large request at a high limit would keep others out for hours at a low one; what was not used does not come back."""
    throttle = Throttle({3: Limit(10**9)})
    assert throttle.take(0, 10**9) == 0
    throttle.set({3: Limit(1000)}, now=1000.0)
    assert throttle.take(0, 1) == 0
    assert 0 < throttle.take(0, 1) < 0.1
    throttle.set({3: Limit(10)}, now=1000.0)
    throttle.set({}, now=1000.0)
    assert throttle.take(0, 1 << 30) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """No units leak twice."""
    throttle = Throttle({0: Limit(10)})
    assert [throttle.take(5) for _ in range(2)] == [0, 0]
    waited = throttle.take(5)
    assert waited > 0
    assert throttle.take(0) == pytest.approx(waited)
    assert throttle.take(5) == pytest.approx(waited)


@dataclass
class Asker:
    """A connection, whose first request in the queue asks again when its wait is over, as limits.c does."""

    user: int
    size: int = 1
    direction: int = READ
    count: int = 0
    due: float = 0.0


def served(throttle: Any, askers: list[Asker], seconds: float) -> None:
    """Each has more requests in its queue, and so asks anew at once; the naps are as long as those of limits.c."""
    now = 0.0
    while now < seconds:
        asker = min(askers, key=lambda each: each.due)
        now = asker.due
        waited = throttle.take(now, asker.size, asker.direction, asker.user, more=True)
        asker.count += not waited
        asker.due = now + (min(max(waited, 0.001), 0.05) if waited else 1e-6)


@settings(max_examples=20)
@given(st.integers(20, 2000), st.integers(2, 10))
def test_users_get_equal_shares(average: int, users: int) -> None:
    """Of operations, to a tenth; and together all that there is."""
    askers = [Asker(user) for user in range(1, users + 1)]
    served(Throttle({2: Limit(average)}), askers, 2.0)
    counts = [asker.count for asker in askers]
    assert sum(counts) == pytest.approx(2.1 * average, rel=0.1, abs=4)
    assert max(counts) - min(counts) <= 2 + 0.1 * max(counts)


def test_who_wants_large_pieces_gets_no_more_bytes() -> None:
    """Of a limit of bytes, one with 4 KiB and one with 1 MiB get the same, to a fifth."""
    small, large = Asker(1, 1 << 12), Asker(2, 1 << 20)
    served(Throttle({5: Limit(50 << 20)}), [small, large], 10.0)
    assert small.count * small.size == pytest.approx(large.count * large.size, rel=0.2)


def test_a_writer_does_not_wait_for_readers() -> None:
    """Reads are at their own limit of bytes, and the limit of all operations has room: writes get all of the rest."""
    readers = [Asker(user, 1 << 20) for user in (1, 2, 3)]
    writer = Asker(4, 1 << 12, WRITE)
    served(Throttle({2: Limit(500), 3: Limit(10 << 20)}), [*readers, writer], 10.0)
    assert writer.count == pytest.approx(10 * (500 - 10), rel=0.05)


def test_more_users_than_places_go_on() -> None:
    """The idlest one's place is taken; what all get together stays the limit."""
    askers = [Asker(user) for user in range(1, 101)]
    served(Throttle({0: Limit(1000)}), askers, 2.0)
    assert sum(asker.count for asker in askers) == pytest.approx(2100, rel=0.1)
    assert min(asker.count for asker in askers) > 5


def test_a_user_that_left_does_not_keep_others_waiting() -> None:
    """Killed while it waits: the others have its share a tenth of a second later."""
    throttle = Throttle({0: Limit(100)})
    left, stays = Asker(1), Asker(2)
    served(throttle, [left, stays], 1.0)
    before, stays.due = stays.count, 1.0
    times = []
    for at in range(1000, 2000):
        if not throttle.take(at / 1000, user=stays.user):
            times.append(at / 1000)
    assert before and len(times) == pytest.approx(100, abs=12)
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.2
