"""Limits of bandwidth and of processor time, which several copies share and which may change while copies run."""

from nbdsvc._native import ffi, lib

_MICROSECONDS = 1_000_000


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
