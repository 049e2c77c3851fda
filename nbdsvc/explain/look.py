"""Reads the state of this host beside its rows: backends, exports, files. Changes nothing."""

import fcntl
import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path

from nbdsvc import errors
from nbdsvc.backup_store.vault import Vault
from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.explain.facts import Export, LockFile, Store
from nbdsvc.exporter import Exporter, LimitingExporter, SessionExporter, driver_volume_type
from nbdsvc.host import Backend, Host
from nbdsvc.model.entities import Attachment

# Threads that wait for sockets: more than the servers that are likely to hang at once.
LOOKS_AT_ONCE = 32
# Seconds for the lists of a store of backups: a request for an explanation is answered within a minute by default.
STORE_SECONDS = 20.0
_JOURNAL = ".copy"


def look_at_backend(backend: Backend) -> tuple[tuple[BackendObject, ...], tuple[PoolStats, ...]]:
    """The backend's objects and pools. Raises the driver's errors when the backend does not work."""
    backend.driver.check_for_setup_error()
    return tuple(backend.driver.list_objects()), tuple(backend.driver.get_volume_stats(refresh=True))


def look_at_exports(exporter: Exporter, present: Collection[str], rows: Iterable[Attachment]) -> list[Export]:
    """The exports that are present, and those that the rows require. rows: attachments of this host's volumes.

    Required exports are checked in parallel, because each that does not answer takes its whole deadline.
    """
    protocol = driver_volume_type(exporter.protocol)
    own = {row.id for row in rows if row.exported and row.protocol == protocol}
    others = [Export(protocol, id, present=True) for id in present if id not in own]
    with futures.ThreadPoolExecutor(LOOKS_AT_ONCE, "look") as pool:
        return others + list(pool.map(lambda id: _look_at(exporter, protocol, id, id in present), sorted(own)))


def _look_at(exporter: Exporter, protocol: str, id: str, present: bool) -> Export:
    fault = exporter.health(id).fault
    if fault:
        return Export(protocol, id, present, _is_noted(exporter, id), fault)
    sessions = exporter.sessions(id) if isinstance(exporter, SessionExporter) else None
    made = Export(protocol, id, present, fault="", sessions=sessions)
    return (
        replace(made, limiting=True, limits=_limits(exporter, id)) if isinstance(exporter, LimitingExporter) else made
    )


def _limits(exporter: LimitingExporter, id: str) -> Mapping[str, int] | None:
    try:
        return exporter.limits(id)
    except errors.Error:
        return None


def _is_noted(exporter: Exporter, id: str) -> bool:
    try:
        return exporter.find(id) is not None
    except errors.Error:  # the export has a note, and its server does not serve
        return True


def look_at_store(vault: Vault) -> Store | None:
    """What the store of backups has, by lists; None where this host has used none, which a look must not make.

    A store that does not answer must not keep everything else from being said: it is left behind after STORE_SECONDS.
    """
    if not vault.store.is_known():
        return None
    found = list[Store]()
    thread = threading.Thread(target=lambda: found.append(_listed(vault)), name="look at backups", daemon=True)
    thread.start()
    thread.join(STORE_SECONDS)
    return found[0] if found else Store(fault=f"it has not answered within {STORE_SECONDS:g} s")


def _listed(vault: Vault) -> Store:
    try:
        id, manifests, damaged = vault.store.check(), set[tuple[str, str]](), set[tuple[str, str]]()
        for space in vault.spaces():
            manifests |= {(space.name, backup) for backup in space.backups()}
            damaged |= {(space.name, chunk.hex()) for chunk in space.damaged()}
    except errors.Error as error:
        return Store(fault=str(error))
    return Store(id, "", frozenset(manifests), frozenset(damaged))


def look_at_digests(host: Host) -> dict[str, str]:
    """Id -> the reason why the digests cannot be read; empty where they can."""
    found = {}
    for path in _files(host.digests.folder):
        try:
            if host.digests.load(path.name) is not None:
                found[path.name] = ""
        except (errors.Error, OSError) as error:
            found[path.name] = str(error)
    return found


def look_at_journals(host: Host) -> tuple[str, ...]:
    """The ids of operations that have the journal of a copy."""
    return tuple(path.stem for path in _files(host.journals) if path.suffix == _JOURNAL)


def look_at_locks(folder: Path, names: Sequence[str]) -> tuple[LockFile, ...]:
    """Whether these lock files are held. This locks them briefly, so none may belong to a running operation."""
    found = []
    for name in names:
        try:
            fd = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(LockFile(name, 0))
        except BlockingIOError:
            found.append(LockFile(name, _holder(folder / name)))
        finally:
            os.close(fd)
    return tuple(found)


def lock_files(folder: Path) -> list[str]:
    """The names of the existing lock files."""
    return [path.name for path in _files(folder)]


def _holder(path: Path) -> int:
    """The pid of another process that has the file open; this process's if there is none."""
    wanted = path.stat()
    for folder in Path("/proc").glob("[0-9]*/fd"):
        if int(folder.parent.name) != os.getpid() and _has_open(folder, wanted):
            return int(folder.parent.name)
    return os.getpid()


def _has_open(folder: Path, wanted: os.stat_result) -> bool:
    try:
        return any(os.path.samestat(path.stat(), wanted) for path in folder.iterdir() if path.exists())
    except OSError:  # the process has ended, or belongs to another user
        return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
