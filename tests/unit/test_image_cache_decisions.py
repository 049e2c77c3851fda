"""The decision which cached images go: pure, so that every case of it can be tried."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nbdsvc.volumes.image_cache.decide import Cached, Limits, to_admit, to_free, to_trim

_BEGIN = datetime(2026, 1, 1)
CACHED = st.lists(
    st.builds(
        Cached,
        id=st.uuids().map(str),
        size=st.integers(1, 20),
        last_used=st.integers(0, 50).map(lambda hours: _BEGIN + timedelta(hours=hours)),
        free=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)
LIMITS = st.builds(Limits, count=st.integers(1, 12), gigabytes=st.integers(0, 100))


def _stay(cached: list[Cached], going: list[str]) -> list[Cached]:
    return [each for each in cached if each.id not in going]


def _fits(cached: list[Cached], limits: Limits) -> bool:
    return len(cached) <= limits.count and sum(each.size for each in cached) <= limits.gigabytes


def _check_oldest_first(cached: list[Cached], going: list[str]) -> None:
    """What goes may go, each once, and nothing that may go and stays was used before it."""
    gone = [each for each in cached if each.id in going]
    assert len(set(going)) == len(going) == len(gone) and all(each.free for each in gone)
    latest = max((each.last_used for each in gone), default=_BEGIN)
    assert all(each.last_used >= latest for each in _stay(cached, going) if each.free)


@given(CACHED, LIMITS, st.integers(1, 100))
def test_a_new_entry_is_within_the_limits_or_is_not_made(cached: list[Cached], limits: Limits, size: int) -> None:
    """With what stays; the oldest go, and none too many. Not made only where it cannot fit beside what may not go."""
    new = Cached("new", size, _BEGIN, free=False)
    going = to_admit(cached, limits, size)
    if going is None:
        assert not _fits([each for each in cached if not each.free] + [new], limits)
        return
    assert _fits([*_stay(cached, going), new], limits)
    _check_oldest_first(cached, going)
    assert not going or not _fits([*_stay(cached, going[:-1]), new], limits)


@given(CACHED, LIMITS)
def test_lower_limits_are_kept_as_far_as_they_can_be(cached: list[Cached], limits: Limits) -> None:
    """What stays fits, or nothing that may go is left."""
    going = to_trim(cached, limits)
    staying = _stay(cached, going)
    assert _fits(staying, limits) or not any(each.free for each in staying)
    _check_oldest_first(cached, going)
    assert not going or not _fits(_stay(cached, going[:-1]), limits)


@given(CACHED, st.integers(-5, 200))
def test_a_full_pool_gets_what_it_needs_and_no_more(cached: list[Cached], size: int) -> None:
    """As many of the oldest go as free the size; all that may where that is too little."""
    going = to_free(cached, size)
    freed = [each.size for each in cached if each.id in going]
    assert sum(freed) >= size or len(going) == sum(each.free for each in cached)
    _check_oldest_first(cached, going)
    last = next((each.size for each in cached if going and each.id == going[-1]), 0)
    assert not going or sum(freed) - last < size
