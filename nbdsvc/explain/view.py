"""The facts with the look-ups that several kinds of finding need."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.explain.facts import Export, Facts
from nbdsvc.model import names
from nbdsvc.model.entities import Attachment, Backup, Snapshot, StorageBackend, Volume
from nbdsvc.model.operation import Operation


class View:
    """Look-ups in `facts`. `idle_*` are without rows and objects that an operation works on."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.volumes = {row.id: row for row in facts.volumes}
        self.snapshots = {row.id: row for row in facts.snapshots}
        self.backups = {row.id: row for row in facts.backups}
        self.attachments = {row.id: row for row in facts.attachments}

    @cached_property
    def attached(self) -> dict[str, list[Attachment]]:
        """The attachments of each volume."""
        found: dict[str, list[Attachment]] = defaultdict(list)
        for row in self.facts.attachments:
            found[row.volume_id].append(row)
        return found

    @cached_property
    def objects(self) -> dict[tuple[str, str], list[tuple[str, BackendObject]]]:
        """(kind, id) -> (backend, object) of each object under that id."""
        found: dict[tuple[str, str], list[tuple[str, BackendObject]]] = defaultdict(list)
        for backend, objects in self.facts.objects.items():
            for each in objects:
                if each.id:
                    found[each.kind, each.id].append((backend, each))
        return found

    @cached_property
    def exports(self) -> dict[tuple[str, str], Export]:
        """(attachment, transport) -> its export."""
        return {(each.id, each.protocol): each for each in self.facts.exports}

    @cached_property
    def working(self) -> dict[str, list[Operation]]:
        """The unfinished operations on each resource."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.facts.operations:
            found[operation.resource_id].append(operation)
        return found

    def idle(self, *ids: str) -> bool:
        """Whether no operation works on any of these, and none of them changed while the facts were read."""
        return self.facts.busy.isdisjoint(ids)

    def is_here(self, volume: Volume | None) -> bool:
        """Whether the volume is on the host that has read its storage."""
        return volume is not None and bool(self.facts.host) and volume.host == self.facts.host

    def idle_volumes(self) -> Iterator[Volume]:
        return (row for row in self.facts.volumes if self.idle(row.id))

    def idle_snapshots(self) -> Iterator[tuple[Snapshot, Volume]]:
        """Snapshots with their volumes; no operation works on either."""
        for row in self.facts.snapshots:
            volume = self.volumes.get(row.volume_id)
            if volume and self.idle(row.id, volume.id):
                yield row, volume

    def idle_objects(self) -> Iterator[tuple[str, BackendObject]]:
        """Idle objects with an id of nbdsvc."""
        for backend, objects in self.facts.objects.items():
            for each in objects:
                if each.id and self.idle(each.id, *([each.origin] if each.origin else [])):
                    yield backend, each

    def copies(self, kind: str, id: str, backend: str) -> list[BackendObject]:
        """The objects of a volume or snapshot in this backend."""
        return [each for name, each in self.objects.get((kind, id), []) if name == backend]

    def pool(self, backend: str, name: str) -> PoolStats | None:
        return next((each for each in self.facts.pools.get(backend, ()) if each.name == name), None)

    def backup_of(self, found: BackendObject) -> Backup | None:
        """The backup that is read from this object, as a snapshot or clone of a volume of this host."""
        row = self.backups.get(found.id or "")
        return row if row and self.is_here(self.volumes.get(row.volume_id)) else None

    def is_readable(self, volume: Volume) -> bool:
        """Whether the host could list the objects of the volume's pool."""
        pool = self.pool(self.backend(volume), volume.pool) if self.is_here(volume) else None
        return pool is not None and not pool.fault and self.backend(volume) in self.facts.objects

    def has_bytes(self, volume: Volume) -> bool:
        """Whether the volume may have its bytes: False when its pool was listed without them."""
        backend = self.backend(volume)
        pool = self.pool(backend, volume.pool)
        if backend in self.facts.faults or (pool and pool.fault):
            return False
        here = [each.pool for each in self.copies("volume", volume.id, backend)]
        return volume.pool in here or not self.is_readable(volume)

    def backend(self, volume: Volume) -> str:
        """The backend's name; the host's only one for a row of an older version without a name."""
        if not volume.backend and len(self.facts.configured) == 1:
            return next(iter(self.facts.configured))
        return volume.backend

    def is_late(self, backend: StorageBackend) -> bool:
        """Whether the backend's last report is too old."""
        return backend.full_name in self.facts.late

    def is_shared(self, volume: Volume, backend: str) -> bool:
        """Whether the volume is on another host by its row, and this backend of the host sees the same storage."""
        here = self._cluster(self.facts.host, backend)
        return bool(here) and backend == volume.backend and here == self._cluster(volume.host, volume.backend)

    def _cluster(self, host: str, backend: str) -> str:
        return next((row.cluster for row in self.facts.backends if (row.host, row.name) == (host, backend)), "")

    def peers(self, host: str) -> dict[str, list[str]]:
        """The living hosts that see the storage of each backend of this host."""
        dead = self.dead_hosts() | self.facts.lost
        shared = {row.name: row.cluster for row in self.facts.backends if row.host == host and row.cluster}
        return {
            name: sorted(
                row.host
                for row in self.facts.backends
                if (row.name, row.cluster) == (name, cluster) and row.host not in dead and row.working
            )
            for name, cluster in shared.items()
        }

    def dead_hosts(self) -> set[str]:
        """Hosts whose backends all have stopped to report."""
        alive = {row.host for row in self.facts.backends if not self.is_late(row)}
        return {row.host for row in self.facts.backends} - alive


def place(volume: Volume) -> str:
    """host@backend, the form in `Found.related`."""
    return names.join_host(volume.host, volume.backend)
