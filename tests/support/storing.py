"""A store of backups in a folder, a volume in a file, and actors that take turns at the store."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbdsvc.backup_store.contract import BackupStore, Missing
from nbdsvc.backup_store.faulty import FaultyStore
from nbdsvc.backup_store.folder import FolderStore
from nbdsvc.backup_store.manifest import CHUNK
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backup_store.space import Space
from nbdsvc.backup_store.vault import Vault
from nbdsvc.backup_store.writing import Writer, Written
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.rate_limit import Limit, LimitShare

SPACE = "5a" * 16
SECONDS = 30


def folder_store(folder: Path) -> FolderStore:
    return FolderStore(folder / "store", folder / "note.json")


def vault(
    folder: Path, master: bytes | None = None, store: BackupStore | None = None, *, compress: bool = True
) -> Vault:
    return Vault(store or folder_store(folder), master, compress)


def make_volume(path: Path, chunks: list[bytes], tail: int = 0) -> Path:
    """A sparse file: each chunk begins with these bytes; `tail`: bytes that the last one is shorter."""
    with path.open("wb") as file:
        file.truncate(len(chunks) * CHUNK - tail)
        for index, content in enumerate(chunks):
            file.seek(index * CHUNK)
            file.write(content)
    return path


def back_up(
    space: Space, volume: Path, id: str, parent: str | None = None, *, compress: bool = True, threads: int = 2
) -> Written:
    """As an operation does it: session, chunks, manifest, end of the session."""
    space.begin_session(id, {})
    with sources.open_path(volume) as source:
        known = space.get_manifest(parent) if parent else None
        share = LimitShare([Limit(1 << 30), Limit()])
        writer = Writer(space, source, parent=known, compress=compress, threads=threads, share=share)
        written = writer.write(id, {"name": id})
    space.end_session(id)
    return written


def verify(space: Space, id: str) -> int:
    return Reader(space, space.get_manifest(id)).verify(lambda _done, _total: None, lambda: None)


def files(folder: Path, pattern: str) -> set[str]:
    found = (folder / "store" / "spaces" / SPACE).glob(pattern)
    return {path.name for path in found if path.is_file() and not path.name.startswith(".")}


class CopyingStore:
    """A store that moves as S3 does: it copies, looks whether the source is still the same, and removes that."""

    moves_at_once = False

    def __init__(self, behind: BackupStore) -> None:
        self._behind = behind
        self.name = behind.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)

    def move(self, name: str, new: str) -> bool:
        most = 1 << 30
        while True:
            try:
                content = self._behind.get(name, most)
            except Missing:
                return False
            self._behind.put(new, content)
            with suppress(Missing):
                if self._behind.get(name, most) != content:
                    continue
            self._behind.remove(name)
            return True


class Killed(Exception):
    pass


class Actor:
    """A function that works on a store of its own, and stops before each call there until it gets a turn."""

    def __init__(self, store: BackupStore, work: Callable[[BackupStore], None]) -> None:
        faulty = FaultyStore(store)
        faulty.on_call = self._wait
        self.call = ("", "")
        """The call that it makes with its next turn: method and name."""
        self._condition = threading.Condition()
        self._turns = 0
        self._waiting = False
        self._killed = False
        self.ended = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work, faulty), daemon=True)
        self._thread.start()
        self._settle()

    def turn(self) -> bool:
        """Let it make one call; False where it has ended. Returns when it waits again."""
        with self._condition:
            if self.ended:
                return False
            self._turns += 1
            self._waiting = False
            self._condition.notify_all()
        self._settle()
        return True

    def kill(self) -> None:
        """No further call of it comes to the store."""
        with self._condition:
            self._killed = True
            self._condition.notify_all()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def finish(self) -> None:
        while self.turn():
            pass
        if self.error:
            raise self.error

    def _run(self, work: Callable[[BackupStore], None], store: BackupStore) -> None:
        try:
            work(store)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        with self._condition:
            self.ended = True
            self._condition.notify_all()

    def _wait(self, method: str, name: str) -> None:
        with self._condition:
            self.call = method, name
            self._waiting = True
            self._condition.notify_all()
            assert self._condition.wait_for(lambda: self._turns or self._killed, SECONDS)
            if self._killed:
                raise Killed
            self._turns -= 1

    def _settle(self) -> None:
        with self._condition:
            assert self._condition.wait_for(lambda: self._waiting or self.ended, SECONDS)
