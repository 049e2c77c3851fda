"""Limits of bandwidth and of processor time, which several copies share and which may change while copies run."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nbdsvc._native import ffi, lib

_MICROSECONDS = 1_000_000
_NANOSECONDS = 1e9


class Limit:
    """A limit for all copies that share it together. rate: bytes a second (for `cores`, microseconds); 0: no limit."""

    def __init__(self, rate: int = 0) -> None:
        made = ffi.new("struct nbdsvc_token_bucket **")
        if lib.nbdsvc_token_bucket_create(rate, made) < 0:
            raise MemoryError
        self.pointer = ffi.gc(made[0], lib.nbdsvc_token_bucket_destroy)
        self._rate = rate

    @property
    def rate(self) -> int:
        """Bytes (or another unit) a second; 0 is no limit."""
        return self._rate

    @rate.setter
    def rate(self, rate: int) -> None:
        """Change the limit, also of copies that are running."""
        lib.nbdsvc_token_bucket_set(self.pointer, rate)
        self._rate = rate


def cores(count: float) -> int:
    """The rate of a limit of processor time, in microseconds a second, for so many cores; 0: no limit."""
    return max(int(count * _MICROSECONDS), 1 if count else 0)


class LimitShare:
    """The share of one job in several limits, for jobs whose bytes Python moves. Its threads call `take`."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._shares = [(limit.pointer, ffi.new("struct nbdsvc_share *")) for limit in limits]

    def take(self, count: int) -> None:
        """Return when so many bytes may be moved; a piece is moved late at the most, and never refused."""
        for bucket, share in self._shares:
            while wait := lib.nbdsvc_token_bucket_take(bucket, share, count):
                time.sleep(wait / _NANOSECONDS)

    @contextmanager
    def joined(self) -> Iterator["LimitShare"]:
        """A block in which the job has its share."""
        for bucket, share in self._shares:
            lib.nbdsvc_token_bucket_join(bucket, share)
        try:
            yield self
        finally:
            for bucket, share in self._shares:
                lib.nbdsvc_token_bucket_leave(bucket, share)
