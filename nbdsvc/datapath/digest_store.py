"""Files with the digests of volumes and snapshots: what their bytes should be, for as long as no client may write them.

They come from the copy that filled the volume, are copied to its snapshots and clones, and are discarded before the volume
is exported for writing: from then on only the guest knows what it should hold, until new ones are recorded.
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
        """Keep these as the digests of the volume or snapshot `id`."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        digests.save(self._path(id))

    def load(self, id: str) -> Digests | None:
        """The digests of `id`; None where there are none."""
        try:
            return Digests.load(self._path(id))
        except FileNotFoundError:
            return None

    def copy(self, origin: str, id: str) -> None:
        """Give `id`, which has the same bytes as `origin`, the digests of `origin`, or none where it has none."""
        self.discard(id)
        with contextlib.suppress(FileNotFoundError):
            os.link(self._path(origin), self._path(id))
            atomic_file.sync_folder(self.folder)

    def discard(self, id: str) -> None:
        """Remove the digests of `id`: its bytes may change from now on, or it is deleted."""
        atomic_file.remove(self._path(id))

    def _path(self, id: str) -> Path:
        return self.folder / id
