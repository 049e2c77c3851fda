"""Files with the digests of volumes and snapshots: the expected content, for as long as no client may write to them.

The copy that fills a volume records its digests. They are copied for the volume's snapshots and clones, and discarded
before the volume is exported for writing: from then on only the guest knows the content, until new ones are recorded.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from nbdsvc import atomic_file
from nbdsvc.datapath.digests import Digests


@dataclass(frozen=True)
class DigestStore:
    """The digests of a host's volumes and snapshots, a file each in `folder`, named by the id."""

    folder: Path

    def save(self, id: str, digests: Digests) -> None:
        """Store the digests of the volume or snapshot `id`. Raises OSError when they cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        digests.save(self._path(id))

    def load(self, id: str) -> Digests | None:
        """The digests of `id`; None where there are none. Raises ChecksumMismatch or BadImage for a damaged file."""
        try:
            return Digests.load(self._path(id))
        except FileNotFoundError:
            return None

    def copy(self, origin: str, id: str) -> None:
        """Give `id` the digests of `origin`, which has the same bytes; none when `origin` has none."""
        self.discard(id)
        with contextlib.suppress(FileNotFoundError):
            os.link(self._path(origin), self._path(id))
            atomic_file.sync_folder(self.folder)

    def discard(self, id: str) -> None:
        """Remove the digests of `id`: its bytes may change from now on, or it is deleted."""
        atomic_file.remove(self._path(id))

    def _path(self, id: str) -> Path:
        return self.folder / id
