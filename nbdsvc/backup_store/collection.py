"""Free what no backup needs, beside backups that are being written, on hosts that know nothing of each other.

A sweep has three parts, and may be killed in any, or run many times at once:

    1  mark       the chunks that no manifest needs
    2  set aside  move them into a folder of the trash; then note who is writing, in that folder
    3  end        once all of those have ended: what a manifest needs by now is moved back, the rest is removed

Nothing is removed that a whole backup needs. Take a backup that needs a chunk which a sweep has set aside. Before its
manifest is there, a backup lists the chunks that it counts on. If it did so after the chunk was set aside, it found it
missing and stored it again. If it did so before, its session was there before, too, and so it was noted in part 2, or it
had ended by then; either way part 3 comes after its manifest, and moves the chunk back. Readers look into the trash, too,
so that the chunk is there for them all the time.

Where a move is no one step (S3), a chunk is removed from its place some time after it is in the trash. If another sweep
took it over from there and removed it meanwhile, a backup that began after that and found the chunk in its place would
lose it. So there, what a sweep has set aside without a note is taken over only once that sweep is known to have ended.
"""

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nbdsvc.backup_store.contract import Missing
from nbdsvc.backup_store.space import TRASH_SESSIONS, Space, ids_in

# Bytes of the note of a trash: the ids of those who are writing, far fewer than this has room for.
_MOST_NOTE = 4 << 20


@dataclass(frozen=True)
class Sweeper:
    """Who sweeps. id: of no other sweep that may run, without a dot; has_ended: whether the sweeps of an id have ended."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    has_ended: Callable[[str], bool] = lambda _id: False


@dataclass
class Collected:
    """What a sweep did: chunks and bytes that were freed, chunks that were moved back, and who has to end before the
    rest can be freed."""

    chunks: int = 0
    bytes: int = 0
    kept: int = 0
    waiting: tuple[str, ...] = ()

    def add(self, other: "Collected") -> None:
        self.chunks += other.chunks
        self.bytes += other.bytes
        self.kept += other.kept
        self.waiting = tuple(sorted({*self.waiting, *other.waiting}))


def collect(space: Space, candidates: Iterable[bytes] | None = None, sweeper: Sweeper | None = None) -> Collected:
    """Free the candidates that no manifest needs, and what earlier sweeps set aside. None: look at every chunk.

    sweeper: None for one of whom nothing else is known.

    Raises BackendUnavailable; BackupDamaged where a manifest cannot be read, and then nothing is freed.
    """
    if candidates is None:
        _sweep_parts(space)
    _sweep_damaged(space)
    sweeper = sweeper or Sweeper()
    folder = f"{space.root}/trash/{sweeper.id}.{uuid.uuid4().hex}"
    moved = [space.store.move(at, f"{folder}/{id.hex()}") for id, at in _unneeded(space, candidates)]
    moved += [space.store.move(at, f"{folder}/{id.hex()}") for id, at in _not_noted(space, folder, sweeper)]
    found = Collected()
    if any(moved):
        # Read after the last chunk was moved: who begins later does not find the chunks.
        if writing := sorted(space.sessions()):
            space.store.put(f"{folder}/{TRASH_SESSIONS}", json.dumps(writing).encode())
        else:  # there is no one to wait for, so no note is needed, for which a full store has no room
            _empty(space, folder, found)
    found.add(_end(space, sweeper))
    return found


def _unneeded(space: Space, candidates: Iterable[bytes] | None) -> list[tuple[bytes, str]]:
    """The chunks that no manifest needs, with their names."""
    looked_at = list(space.chunks() if candidates is None else candidates)
    needed = space.needed() if looked_at else set()
    return [(id, space.chunk_name(id)) for id in looked_at if id not in needed]


def _not_noted(space: Space, own: str, sweeper: Sweeper) -> list[tuple[bytes, str]]:
    """What a sweep set aside that was killed before its note, or is at it. A folder gets no chunks once it has its note, so
    they go to a folder of our own.
    """
    return [
        (id, f"{folder}/{id.hex()}")
        for folder in space.trash()
        if folder != own and _may_take(space, folder, sweeper) and _noted(space, folder) is None
        for id in ids_in(space.store, folder)
    ]


def _may_take(space: Space, folder: str, sweeper: Sweeper) -> bool:
    return space.store.moves_at_once or sweeper.has_ended(_sweeper_of(folder))


def _sweeper_of(folder: str) -> str:
    return folder.rpartition("/")[2].partition(".")[0]


def _end(space: Space, sweeper: Sweeper) -> Collected:
    found = Collected()
    for folder in space.trash():
        noted = _noted(space, folder)
        if noted is None:
            space.store.remove_folder(folder)  # where it is empty: of a sweep that was killed before its first move
            if not _may_take(space, folder, sweeper):
                found.add(Collected(waiting=(_sweeper_of(folder),)))
            continue
        if waiting := noted & space.sessions():
            found.add(Collected(waiting=tuple(sorted(waiting))))
        else:
            _empty(space, folder, found)
    return found


def _sweep_parts(space: Space) -> None:
    chunks = [f"{space.root}/chunks/{part}" for part in space.store.names(f"{space.root}/chunks")]
    for folder in (*chunks, f"{space.root}/manifests", f"{space.root}/sessions", *space.trash()):
        space.store.sweep(folder)


def _sweep_damaged(space: Space) -> None:
    """Remove damaged chunks that are there anew, or that no backup needs."""
    damaged = set(ids_in(space.store, f"{space.root}/damaged"))
    for id in damaged - (space.needed() & space.missing(damaged)) if damaged else ():
        space.store.remove(space.damaged_name(id))


def _noted(space: Space, folder: str) -> set[str] | None:
    try:
        return set(json.loads(space.store.get(f"{folder}/{TRASH_SESSIONS}", _MOST_NOTE)))
    except (Missing, ValueError):
        return None


def _empty(space: Space, folder: str, found: Collected) -> None:
    """Read the manifests again, now that all who could count on these chunks have ended."""
    needed = space.needed()
    for id in ids_in(space.store, folder):
        at = f"{folder}/{id.hex()}"
        if id in needed:
            found.kept += space.store.move(at, space.chunk_name(id))
            continue
        size = _size(space, at)
        if space.store.remove(at):
            found.chunks, found.bytes = found.chunks + 1, found.bytes + size
    space.store.remove(f"{folder}/{TRASH_SESSIONS}")
    space.store.remove_folder(folder)


def _size(space: Space, name: str) -> int:
    try:
        return space.store.head(name, 0)[1]
    except Missing:
        return 0
