"""Which bytes an image has: what an image cache must know of an image before it may use, or keep, a copy of it.

A source of images says it at two moments. `Images.version` says it without reading the image, and only to a request that may
use the image; `OpenImage.version` says it of the bytes that are read. A copy is kept under the second and found by the first,
so an image that changes in between, or later, is another one.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nbdsvc.images.checksum import Checksum

# Seconds. A file system gives the time of a change in ticks, and two changes in one tick look the same. Ticks are some
# milliseconds; 1 s is the tick of the coarsest file systems.
_TICK_SECONDS = 1.0


@dataclass(frozen=True)
class ImageVersion:
    """The bytes of an image. id: of the image, the same for every project; tag: changes when its bytes change."""

    id: str
    tag: str

    @property
    def key(self) -> str:
        """64 hexadecimal digits; two versions with the same key have the same bytes."""
        return hashlib.sha256(json.dumps([self.id, self.tag]).encode()).hexdigest()


def of_file(
    id: str, status: os.stat_result, disk: str | None, checksum: Checksum | None, shown: Sequence[str] = ()
) -> ImageVersion | None:
    """The version of a regular file; disk: which one of an appliance; checksum: the wanted one; shown: what volumes show
    of it, for a clone shows what its entry shows.

    None for a file that was changed a moment ago: a further change might have the same time. The inode's own time of change
    is a part of the tag, because a program can set the time of modification back.
    """
    changed = max(status.st_mtime_ns, status.st_ctime_ns) / 1e9
    if not stat.S_ISREG(status.st_mode) or abs(time.time() - changed) < _TICK_SECONDS:
        return None
    file = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return ImageVersion(id, json.dumps([*file, disk, checksum.digest if checksum else None, *shown]))
