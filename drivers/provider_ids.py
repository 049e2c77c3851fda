"""Ids that the simulator gives its objects, as a storage array does: which of them a volume has, only its row tells.

Objects are stored under random ids. The simulator notes which object it made for which volume, but for two purposes only:
to find what a killed call has made already, and to name its objects in a list. Whatever works on an object goes by the
provider id that the caller has kept, and fails without it.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nbdsvc import atomic_file, errors
from nbdsvc.driver import BackendObject, Manageable, ProviderState, ProviderUpdate, SnapshotRef, VolumeRef
from nbdsvc.model import names

R = TypeVar("R", VolumeRef, SnapshotRef)


class ProviderIds:
    """The notes, a file in `folder` for each volume and snapshot. Switched off, every id stays as it is."""

    def __init__(self, folder: Path, backend: str, *, used: bool) -> None:
        self._folder = folder
        self._backend = backend
        self._used = used

    def to_make(self, ref: R) -> R:
        """For a call that makes the object: the id that an earlier try noted, else a new one, noted before it is used."""
        if not self._used:
            return ref
        found = self._noted(ref.id)
        if found is None:
            found = names.new_id()
            self._folder.mkdir(exist_ok=True)
            atomic_file.write(self._folder / ref.id, found.encode())
        return self._under(ref, found)

    def to_use(self, ref: R) -> R:
        """For a call that works on the object. BackendUnavailable where the caller has lost its provider id."""
        if not self._used:
            return ref
        return self._under(ref, self._kept(ref.id, ref.state))

    def to_remove(self, ref: R) -> R:
        """For a call that also takes back what was made in vain: its caller may have no state yet."""
        if not self._used:
            return ref
        known = ref.state.provider_id if ref.state else self._noted(ref.id)
        return self._under(ref, known or ref.id)

    def of_volume(self, snapshot: SnapshotRef) -> SnapshotRef:
        """With the provider id of its volume. BackendUnavailable where the caller has lost it."""
        if not self._used:
            return snapshot
        return replace(snapshot, volume_id=self._kept(snapshot.volume_id, snapshot.volume_state))

    def forget(self, ref: R) -> None:
        """The object is removed."""
        if self._used:
            (self._folder / ref.id).unlink(missing_ok=True)

    def state(self, ref: VolumeRef | SnapshotRef) -> ProviderState | None:
        """What the caller is to keep of the object, of a ref by `to_make`."""
        return ProviderState(provider_id=ref.id) if self._used else None

    def updates(self, refs: Sequence[R]) -> list[ProviderUpdate]:
        """The noted id of each object that has one."""
        noted = [(ref.id, self._noted(ref.id)) for ref in refs] if self._used else []
        return [{"id": id, "provider_id": found} for id, found in noted if found]

    def named(self, found: BackendObject) -> BackendObject:
        """The object under the id of its volume or snapshot."""
        if not self._used:
            return found
        id = self._id_of(found.id)
        return replace(found, id=id, origin=self._id_of(found.origin), state=ProviderState(provider_id=found.id))

    def shown(self, found: Manageable) -> Manageable:
        """The same of an object that may be managed."""
        return replace(found, id=self._id_of(found.id)) if self._used else found

    @staticmethod
    def _under(ref: R, id: str) -> R:
        """With a state, so that it stays as it is where it is translated again."""
        return replace(ref, id=id, state=ProviderState(provider_id=id))

    def _kept(self, id: str, state: ProviderState | None) -> str:
        if state is None or state.provider_id is None:
            raise errors.BackendUnavailable(backend=self._backend, reason=f"{id} comes without its provider id")
        return state.provider_id

    def _noted(self, id: str) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / id).read_text()
        return None

    def _id_of(self, provider_id: str | None) -> str | None:
        noted = self._folder.iterdir() if self._folder.is_dir() else ()
        return next((path.name for path in noted if provider_id and self._noted(path.name) == provider_id), None)
