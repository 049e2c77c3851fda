"""A space of the store: one project's chunks and manifests, and who is writing.

    spaces/SPACE/chunks/AB/ABCD...       a chunk, by its id in hexadecimal digits
    spaces/SPACE/manifests/BACKUP        a backup that is whole: this object makes it one
    spaces/SPACE/sessions/BACKUP         a backup that is being written
    spaces/SPACE/trash/SWEEP/ABCD...     a chunk that no manifest needed, see collection.py
    spaces/SPACE/trash/SWEEP/sessions    who was writing then
    spaces/SPACE/damaged/ABCD...         a chunk with another content than its id says

A session is there before its backup looks for the first chunk, and until its manifest is. So whoever takes chunks away
knows who may be counting on them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from nbdsvc import errors
from nbdsvc.backup_store import manifest as manifests
from nbdsvc.backup_store import sealed
from nbdsvc.backup_store.contract import BackupStore, Missing
from nbdsvc.backup_store.keys import OVERHEAD, SpaceKeys
from nbdsvc.backup_store.manifest import CHUNK, Manifest

TRASH_SESSIONS = "sessions"
# Bytes of an object that is a chunk: one that is not compressed, and sealed.
MOST_CHUNK = sealed.HEAD_BYTES + CHUNK + OVERHEAD
_CHUNK_NAME = re.compile(r"[0-9a-f]{64}")
_SPACE_NAME = re.compile(r"[0-9a-f]{32}")


class Space:
    """One space. keys: by which its chunks are named and sealed."""

    def __init__(self, store: BackupStore, name: str, keys: SpaceKeys) -> None:
        self.store = store
        self.name = name
        self.keys = keys
        self.root = f"spaces/{name}"

    # Chunks

    def chunk_name(self, id: bytes) -> str:
        return f"{self.root}/chunks/{id[:1].hex()}/{id.hex()}"

    def has_chunk(self, id: bytes) -> bool:
        """Whether the chunk is there, and as long as its head says."""
        try:
            head, size = self.store.head(self.chunk_name(id), sealed.HEAD_BYTES)
        except Missing:
            return False
        return not sealed.fault(sealed.CHUNK_MAGIC, self.keys, head, size)

    def put_chunk(self, id: bytes, content: bytes | bytearray | memoryview, *, compress: bool) -> int:
        """Store a chunk; returns its bytes in the store."""
        made = sealed.encode(sealed.CHUNK_MAGIC, self.keys, id, content, compress=compress)
        self.store.put(self.chunk_name(id), made)
        return len(made)

    def get_chunk(self, id: bytes) -> bytes | bytearray:
        """The content, which has this id. ValueError where it has not, Missing where there is no such chunk."""
        return self._decoded(id, self._stored(id))

    def _decoded(self, id: bytes, stored: bytes) -> bytes | bytearray:
        content = sealed.decode(sealed.CHUNK_MAGIC, self.keys, id, stored, CHUNK)
        if self.keys.id_of(content) != id:
            raise ValueError("its content has another digest")
        return content

    def set_aside(self, id: bytes) -> None:
        """Let no new backup count on a chunk that was read with another content: the next one stores it anew, for all that
        need it. One that was stored anew meanwhile stays.
        """
        damaged = self.damaged_name(id)
        if self.store.move(self.chunk_name(id), damaged) and self._is_whole(id, damaged):
            self.store.move(damaged, self.chunk_name(id))

    def damaged(self) -> set[bytes]:
        """The chunks that were set aside, and that no backup has stored anew since."""
        aside = set(ids_in(self.store, f"{self.root}/damaged"))
        return self.missing(aside) if aside else aside

    def damaged_name(self, id: bytes) -> str:
        return f"{self.root}/damaged/{id.hex()}"

    def _is_whole(self, id: bytes, name: str) -> bool:
        try:
            self._decoded(id, self.store.get(name, MOST_CHUNK))
        except (Missing, ValueError):
            return False
        return True

    def missing(self, ids: Iterable[bytes]) -> set[bytes]:
        """Which of these chunks are not there now, by lists of the store: nothing that was known before counts."""
        wanted: dict[str, set[bytes]] = {}
        for id in ids:
            wanted.setdefault(id[:1].hex(), set()).add(id)
        for part, left in wanted.items():
            left.difference_update(ids_in(self.store, f"{self.root}/chunks/{part}"))
        return set().union(*wanted.values()) if wanted else set()

    def sync_chunks(self, ids: Iterable[bytes]) -> None:
        """Return when the names of these chunks are on stable storage, whoever wrote them."""
        for part in sorted({id[:1].hex() for id in ids}):
            self.store.sync(f"{self.root}/chunks/{part}")

    def chunks(self) -> Iterator[bytes]:
        """Every chunk that is there."""
        for part in self.store.names(f"{self.root}/chunks"):
            yield from ids_in(self.store, f"{self.root}/chunks/{part}")

    def _stored(self, id: bytes) -> bytes:
        """A chunk in the trash is still there, and may be taken out of it at any moment: then look again. A damaged one
        is the last choice, so that its reader says that.
        """
        for _again in range(3):
            aside = (*(f"{folder}/{id.hex()}" for folder in self.trash()), self.damaged_name(id))
            for name in (self.chunk_name(id), *aside):
                try:
                    return self.store.get(name, MOST_CHUNK)
                except Missing:
                    continue
        raise Missing(id.hex())

    # Manifests

    def manifest_name(self, backup_id: str) -> str:
        return f"{self.root}/manifests/{backup_id}"

    def put_manifest(self, made: Manifest) -> int:
        """Make the backup a whole one; returns the manifest's bytes."""
        content = made.encode(self.keys)
        self.store.put(self.manifest_name(made.backup_id), content)
        self.store.sync(f"{self.root}/manifests")
        return len(content)

    def get_manifest(self, backup_id: str) -> Manifest:
        """Raises Missing, and BackupDamaged where it is not what was written."""
        try:
            stored = self.store.get(self.manifest_name(backup_id), manifests.MOST_BYTES)
            return manifests.decode(stored, self.keys, backup_id)
        except ValueError as error:
            raise errors.BackupDamaged(backup=backup_id, reason=f"its manifest: {error}") from None

    def remove_manifest(self, backup_id: str) -> frozenset[bytes] | None:
        """Remove the backup, for good; the chunks that it needed, None where that cannot be known any more."""
        name = self.manifest_name(backup_id)
        try:
            needed: frozenset[bytes] | None = manifests.ids_of(self.store.get(name, manifests.MOST_BYTES))
        except (Missing, ValueError):
            needed = None
        self.store.remove(name)
        self.store.sync(f"{self.root}/manifests")
        return needed

    def backups(self) -> set[str]:
        """The ids of the backups that are whole."""
        return set(self.store.names(f"{self.root}/manifests"))

    def needed(self) -> set[bytes]:
        """The chunks of all manifests. BackupDamaged where one of them cannot be read: then it is not known."""
        found: set[bytes] = set()
        for backup_id in self.store.names(f"{self.root}/manifests"):
            try:
                stored = self.store.get(self.manifest_name(backup_id), manifests.MOST_BYTES)
                found |= manifests.ids_of(stored)
            except Missing:  # removed since
                continue
            except ValueError as error:
                reason = f"its manifest: {error}; nothing of its project is freed until it is deleted"
                raise errors.BackupDamaged(backup=backup_id, reason=reason) from None
        return found

    # Sessions

    def begin_session(self, backup_id: str, facts: dict[str, Any]) -> None:
        """Say that this backup is being written; facts: for people."""
        self.store.put(f"{self.root}/sessions/{backup_id}", json.dumps(facts, sort_keys=True).encode())
        self.store.sync(f"{self.root}/sessions")

    def end_session(self, backup_id: str) -> None:
        """Say that its manifest is there, or never will be."""
        self.store.remove(f"{self.root}/sessions/{backup_id}")

    def sessions(self) -> set[str]:
        return set(self.store.names(f"{self.root}/sessions"))

    # Trash

    def trash(self) -> list[str]:
        """The folders of the trash."""
        return [f"{self.root}/trash/{name}" for name in sorted(self.store.names(f"{self.root}/trash"))]


def ids_in(store: BackupStore, folder: str) -> Iterator[bytes]:
    """The chunks in a folder; what has another name is none of ours."""
    return (bytes.fromhex(name) for name in store.names(folder) if _CHUNK_NAME.fullmatch(name))


def spaces_of(store: BackupStore) -> list[str]:
    """The names of all spaces."""
    return sorted(name for name in store.names("spaces") if _SPACE_NAME.fullmatch(name))
