"""The simulator with a second site: its volumes are really copied, so that what a failover finds can be compared.

Copies are made when the service asks for the status of a volume, so that what was written before that is on the other
site, and what was written after it is not. A link that breaks is planned in `faults.json` as a status, which holds until
replication is enabled again: {"replication": [{"returns": "active-stopped"}]}. Snapshots are not replicated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from drivers.copying_pool import CopyingPool
from drivers.memory import MemoryDriver, faulty
from drivers.replicas import Note, Replicas
from nbdsvc import errors
from nbdsvc.driver import (
    DEFAULT_TARGET,
    DriverFacts,
    ProviderState,
    SnapshotRef,
    VolumeRef,
    VolumeUpdate,
    is_replicated,
)


class ReplicatedMemoryDriver(MemoryDriver):
    """`replication_targets`: the folder of each other site by its id; without any, nothing is replicated."""

    def __init__(
        self, name: str, pool: Path | None = None, replication_targets: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(name, pool, **options)
        if DEFAULT_TARGET in (replication_targets or {}):
            raise errors.ConfigError(setting="replication_targets", reason=f"{DEFAULT_TARGET} is no name for a target")
        first = next(iter(self._pools.values())).folder
        self._replicas = Replicas(first / "replication", name, replication_targets or {})
        self._active = ""

    @property
    def facts(self) -> DriverFacts:
        """Those of the simulator; it replicates where it has a target."""
        return replace(super().facts, replicates=bool(self._replicas.sites))

    @property
    def replication_targets(self) -> Sequence[str]:
        """In the order of the settings."""
        return tuple(self._replicas.sites)

    def set_active_backend(self, active_backend_id: str) -> None:
        """Only for the choice of a target: each volume's note says which site serves it."""
        self._active = active_backend_id

    def do_setup(self) -> None:
        """See MemoryDriver.do_setup; the other sites are set up too."""
        super().do_setup()
        self._replicas.set_up()

    def storage_identities(self) -> dict[str, str]:
        """Unsupported: which site serves is said of a backend of one host."""
        raise errors.Unsupported(
            reason=f"backend {self.name} fails over to other sites, which hosts cannot do together"
        )

    def pool_places(self) -> dict[str, frozenset[str]]:
        """See FileDriver.pool_places; the other sites' too."""
        sites = {f"of replication target {name}": site.places() for name, site in self._replicas.sites.items()}
        return super().pool_places() | sites

    def create_volume(self, volume: VolumeRef, owner: str) -> ProviderState | None:
        """See MemoryDriver.create_volume; with a replica where its type wants one."""
        return self._replicate(volume, super().create_volume(volume, owner))

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """See MemoryDriver.create_cloned_volume; with a replica where its type wants one."""
        return self._replicate(volume, super().create_cloned_volume(volume, source, owner))

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> ProviderState | None:
        """See MemoryDriver.create_volume_from_snapshot; with a replica where its type wants one."""
        return self._replicate(volume, super().create_volume_from_snapshot(volume, snapshot, owner))

    def delete_volume(self, volume: VolumeRef) -> None:
        """See MemoryDriver.delete_volume; its replicas go too."""
        with self._replicas.lock:
            id = self._ids.to_remove(volume).id
            super().delete_volume(volume)
            self._replicas.forget(id)

    @faulty
    def get_replication_status(self, volume: VolumeRef) -> Mapping[str, Any]:
        """Makes a copy, unless that is on hold, or is from now on by a planned status."""
        with self._replicas.lock:
            id = self._ids.to_use(volume).id
            note = self._replicas.get(id)
            if planned := self.faults.returned("replication", None):
                return self._replicas.keep(id, replace(note, status=planned)).update()
            return self._replicas.sync(id, note, lambda site: self._site(site, volume)).update()

    @faulty
    def promote_replica(self, volume: VolumeRef) -> Mapping[str, Any]:
        """The volume is served from its copy on the other site; on hold, so that nothing overwrites either."""
        with self._replicas.lock:
            id = self._ids.to_use(volume).id
            note = self._replicas.get(id)
            if note.status == "inactive":  # the call is a repetition
                return note.update()
            site, _copy = self._replicas.copy_of(id, note)
            return self._replicas.keep(id, replace(note, site=site, status="inactive")).update()

    @faulty
    def reenable_replication(self, volume: VolumeRef) -> Mapping[str, Any]:
        """Copies go from where the volume is served now to the other sites, from the next look on."""
        with self._replicas.lock:
            id = self._ids.to_use(volume).id
            return self._replicas.keep(id, replace(self._replicas.get(id), status="copying")).update()

    @faulty
    def create_replica_test_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> ProviderState | None:
        """A volume without a replica of its own, with the bytes of the copy on the other site."""
        id, made = self._ids.to_use(source).id, self._ids.to_make(volume)
        with self._replicas.lock:
            _site, copy = self._replicas.copy_of(id, self._replicas.get(id))
            self._at(made.pool).make(self._volume_path(made), made.size, owner, copy)
        return self._state(made)

    @faulty
    def failover_host(
        self, volumes: Sequence[VolumeRef], secondary_id: str | None
    ) -> tuple[str, Sequence[VolumeUpdate]]:
        """Nothing more is copied from the site that is left, as if it was lost; on the way back, everything is."""
        with self._replicas.lock:
            target = self._target(secondary_id)
            move = self._come_back if target == DEFAULT_TARGET else self._fail_over
            return target, [{"volume_id": each.id, "updates": move(each, target)} for each in volumes]

    def _target(self, secondary_id: str | None) -> str:
        others = [name for name in self._replicas.sites if name != self._active]
        target = secondary_id or next(iter(others), "")
        if target != DEFAULT_TARGET and target not in self._replicas.sites:
            reason = f"its targets are {', '.join(self._replicas.sites)}"
            raise errors.InvalidReplicationTarget(field="backend_id", value=target[:80], reason=reason)
        return target

    def _fail_over(self, volume: VolumeRef, target: str) -> dict[str, Any]:
        id = self._ids.to_use(volume).id
        note = self._replicas.find(id)
        if note is None or not self._replicas.sites[target].volume_path(id).exists():
            return {"status": "error"} | ({"replication_status": "error"} if note else {})
        kept = self._replicas.keep(id, replace(note, site=target, status="inactive"))
        return kept.update() | {"replication_status": "failed-over"}

    def _come_back(self, volume: VolumeRef, _target: str) -> dict[str, Any]:
        id = self._ids.to_use(volume).id
        note = self._replicas.find(id)
        if note is None:
            return {"status": "available"}
        if note.site:
            self._replicas.sync(id, replace(note, status="active"), lambda site: self._site(site, volume))
            note = self._replicas.keep(id, replace(self._replicas.get(id), site=""))
        return {"status": "available", **note.update()}

    def _replicate(self, volume: VolumeRef, state: ProviderState | None) -> ProviderState | None:
        if not (is_replicated(volume.extra_specs) and self._replicas.sites):
            return state
        id = state.provider_id if state and state.provider_id else volume.id
        note = self._replicas.find(id) or self._replicas.keep(id, Note())
        return replace(state or ProviderState(), replication=note.update())

    def _site(self, name: str, volume: VolumeRef) -> CopyingPool:
        return self._replicas.sites[name] if name else cast("CopyingPool", self._at(volume.pool))

    def _file_of(self, pool: str, volume_id: str) -> Path:
        """Where the volume is served from now."""
        note = self._replicas.find(volume_id)
        if note and note.site:
            site = self._replicas.sites[note.site]
            return site.plain(site.volume_path(volume_id))
        return super()._file_of(pool, volume_id)
