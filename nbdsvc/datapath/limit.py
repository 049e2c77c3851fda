"""Bandwidth limits that jobs share and that may change while they run."""

from nbdsvc._native import ffi, lib


class Limit:
    """At most `rate` bytes a second over everything that is copied with it; 0 is no limit."""

    def __init__(self, rate: int = 0) -> None:
        made = ffi.new("struct nbdsvc_bucket **")
        if lib.nbdsvc_bucket_create(rate, made) < 0:
            raise MemoryError
        self.pointer = ffi.gc(made[0], lib.nbdsvc_bucket_destroy)
        self._rate = rate

    @property
    def rate(self) -> int:
        return self._rate

    @rate.setter
    def rate(self, rate: int) -> None:
        lib.nbdsvc_bucket_set(self.pointer, rate)
        self._rate = rate
