"""What the simulator's array keeps of replicas: a folder for each other site, and a note for each volume.

    <first pool>/replication/<object id>    {"site": "", "status": "active", "at": "..."}: where it is served from

A copy (`sync`) goes to every site but the one that serves, and is whole at each of them, or the one before it is.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from drivers.copying_pool import CopyingPool
from nbdsvc import atomic_file, errors
from nbdsvc.model import clock

# Statuses in which copies are made. In the others replication is on hold until it is enabled again.
_FOLLOWS = ("copying", "active")


@dataclass(frozen=True)
class Note:
    """A volume's replication. site: which one serves it, empty: its pool. at: when the last copy was made, or empty."""

    site: str = ""
    status: str = "copying"
    at: str = ""

    def update(self) -> dict[str, str]:
        """As the contract returns it."""
        extended = f"copied at {self.at}" if self.at else "never copied"
        return {
            "replication_status": self.status,
            "replication_extended_status": extended,
            "replication_driver_data": self.site,
        }


class Replicas:
    """`at(site)`: the folder of a site, of the volume's own pool for an empty name. `lock`: one change at a time."""

    def __init__(self, notes: Path, backend: str, sites: Mapping[str, str]) -> None:
        self._notes = notes
        self._backend = backend
        self.sites = {name: CopyingPool(f"{backend}>{name}", Path(folder).absolute()) for name, folder in sites.items()}
        self.lock = threading.RLock()

    def set_up(self) -> None:
        """Make the folders. BackendUnavailable, ConfigError where one cannot be made."""
        self._notes.mkdir(exist_ok=True)
        for site in self.sites.values():
            site.set_up()

    def find(self, id: str) -> Note | None:
        """The note of this object; None for one without a replica."""
        try:
            return Note(**json.loads((self._notes / id).read_text()))
        except FileNotFoundError:
            return None

    def get(self, id: str) -> Note:
        """The note of this object. ReplicationError for one without a replica."""
        found = self.find(id)
        if found is None:
            raise errors.ReplicationError(volume=id, reason="it has no replica")
        return found

    def keep(self, id: str, note: Note) -> Note:
        """Write the note."""
        atomic_file.write(self._notes / id, json.dumps(asdict(note)).encode(), durable=False)
        return note

    def forget(self, id: str) -> None:
        """Remove note and copies. Not there: success."""
        (self._notes / id).unlink(missing_ok=True)
        for site in self.sites.values():
            site.discard(site.volume_path(id))

    def copy_of(self, id: str, note: Note) -> tuple[str, Path]:
        """The site that would serve the volume next, and the copy there. ReplicationError where there is none yet."""
        for name, site in self.sites.items():
            if name != note.site and site.volume_path(id).exists():
                return name, site.volume_path(id)
        raise errors.ReplicationError(volume=id, reason="there is no whole copy of it yet")

    def sync(self, id: str, note: Note, at: Callable[[str], CopyingPool]) -> Note:
        """Copy the volume to the other sites, unless that is on hold. Returns the new note, which is kept."""
        if note.status not in _FOLLOWS:
            return note
        source = at(note.site).volume_path(id)
        for name in {"", *self.sites} - {note.site}:
            self._mirror(source, at(name), id)
        return self.keep(id, replace(note, status="active", at=clock.now().isoformat()))

    def _mirror(self, source: Path, site: CopyingPool, id: str) -> None:
        try:
            site.mirror(source, site.volume_path(id))
        except FileNotFoundError as error:
            reason = f"{os.path.basename(error.filename or '')} is not there any more"
            raise errors.BackendUnavailable(backend=self._backend, reason=reason) from error
