"""Which cached images are to go: pure functions of what is there, so that a decision is made before anything is done.

The one that was not used for the longest time goes first, and no more go than are needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Cached:
    """A cached image of one pool. size: GiB; free: whether it may go now, because no operation makes it."""

    id: str
    size: int
    last_used: datetime
    free: bool = True


@dataclass(frozen=True)
class Limits:
    """What the cached images of one pool may take together. count: how many; gigabytes: their sizes, in GiB."""

    count: int
    gigabytes: int


def to_admit(cached: Iterable[Cached], limits: Limits, size: int) -> list[str] | None:
    """The ids that go so that one more of `size` GiB is within the limits; None where it cannot be."""
    return _oldest(cached, Limits(limits.count - 1, limits.gigabytes - size))


def to_trim(cached: Sequence[Cached], limits: Limits) -> list[str]:
    """The ids that go so that what stays is within limits, which may be lower than they were; all that may go, where that is
    not enough.
    """
    found = _oldest(cached, limits)
    return [each.id for each in _in_order(cached)] if found is None else found


def to_free(cached: Iterable[Cached], size: int) -> list[str]:
    """The ids that go so that `size` GiB are free, or all that may where they are not enough."""
    going: list[str] = []
    for each in _in_order(cached):
        if size <= 0:
            break
        going.append(each.id)
        size -= each.size
    return going


def _oldest(cached: Iterable[Cached], limits: Limits) -> list[str] | None:
    staying = list(cached)
    count, size = len(staying), sum(each.size for each in staying)
    going: list[str] = []
    for each in _in_order(staying):
        if count <= limits.count and size <= limits.gigabytes:
            break
        going.append(each.id)
        count, size = count - 1, size - each.size
    return going if 0 <= count <= limits.count and size <= limits.gigabytes else None


def _in_order(cached: Iterable[Cached]) -> list[Cached]:
    return sorted((each for each in cached if each.free), key=lambda each: (each.last_used, each.id))
