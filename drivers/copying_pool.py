"""A pool folder of the simulator: it copies what is allocated where the real thing shares blocks."""

import errno
import os
from collections.abc import Iterator

from drivers.pool import MARKER, PoolFolder
from nbdsvc import atomic_file


class CopyingPool(PoolFolder):
    """Copies what is allocated where the real thing shares blocks."""

    def copy(self, source_fd: int, fd: int) -> None:
        size = os.fstat(source_fd).st_size
        os.truncate(fd, size)
        for start, end in _allocated(source_fd, size):
            done = start
            while done < end:
                done += os.copy_file_range(source_fd, fd, end - done, done, done)

    def _initialise(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_file.write(self.folder / MARKER, f"{self.name}\n".encode())


def _allocated(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each part of the file that is not a hole (lseek(2), SEEK_DATA)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is only a hole up to the end of the file
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
