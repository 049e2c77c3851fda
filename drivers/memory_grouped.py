"""The simulator with groups of its own, which it can replicate together; otherwise as memory_replicated.py.

It keeps a file for each group in `groups/` of the first pool, with the ids of its volumes. What it returns is planned in
`faults.json` by the verb's name with ` status` or ` entries`: the status of the whole, and those of the objects in their
order. An object whose entry is no success is not made, or not removed:

    {"create_cgsnapshot status": [{"returns": "error"}], "create_cgsnapshot entries": [{"returns": ["available", "error"]}]}
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from drivers.faults import faulty
from drivers.memory_replicated import ReplicatedMemoryDriver
from drivers.replicas import Note
from nbdsvc import atomic_file
from nbdsvc.driver import (
    DEFAULT_TARGET,
    GroupRef,
    GroupSnapshotRef,
    SnapshotRef,
    Update,
    Updates,
    VolumeRef,
)

_GOOD = ("available", "deleted", None)


class GroupedMemoryDriver(ReplicatedMemoryDriver):
    """The options of ReplicatedMemoryDriver."""

    @property
    def _groups(self) -> Path:
        return next(iter(self._pools.values())).folder / "groups"

    @faulty
    def create_consistencygroup(self, group: GroupRef) -> Update:
        """Keep a group without volumes."""
        self._keep(group.id, set())
        return self._said("create_consistencygroup", ())[0]

    @faulty
    def delete_consistencygroup(self, group: GroupRef, volumes: Sequence[VolumeRef]) -> tuple[Update, Updates]:
        """Delete the volumes, but for those whose planned entry is no success, and forget the group."""
        said, bad = self._planned("delete_consistencygroup", volumes)
        for each in volumes:
            if each.id not in bad:
                self.delete_volume(each)
        if not bad:
            (self._groups / group.id).unlink(missing_ok=True)
        return said

    @faulty
    def update_consistencygroup(
        self, group: GroupRef, add_volumes: Sequence[VolumeRef], remove_volumes: Sequence[VolumeRef]
    ) -> tuple[Update, Updates, Updates]:
        """Keep which volumes the group has."""
        now = self._read(group.id) | {each.id for each in add_volumes}
        self._keep(group.id, now - {each.id for each in remove_volumes})
        model_update, updates = self._said("update_consistencygroup", [each.id for each in add_volumes])
        return model_update, updates, None

    @faulty
    def create_consistencygroup_from_src(
        self,
        group: GroupRef,
        volumes: Sequence[VolumeRef],
        cgsnapshot: GroupSnapshotRef | None,
        snapshots: Sequence[SnapshotRef],
        source_cg: GroupRef | None,
        source_vols: Sequence[VolumeRef],
        owner: str,
    ) -> tuple[Update, Updates]:
        """Copy each source to the volume at its place."""
        self._keep(group.id, {each.id for each in volumes})
        entries = []
        for index, volume in enumerate(volumes):
            if cgsnapshot:
                state = self.create_volume_from_snapshot(volume, snapshots[index], owner)
            else:
                state = self.create_cloned_volume(volume, source_vols[index], owner)
            entries.append({"id": volume.id, **(state.columns() if state else {})})
        return None, entries

    @faulty
    def create_cgsnapshot(
        self, cgsnapshot: GroupSnapshotRef, snapshots: Sequence[SnapshotRef], owner: str
    ) -> tuple[Update, Updates]:
        """Copy each volume, but for those whose planned entry is no success; what an earlier call made is made anew."""
        said, bad = self._planned("create_cgsnapshot", snapshots)
        states = {}
        for each in snapshots:
            self.delete_snapshot(each)
            if each.id not in bad:
                states[each.id] = self.create_snapshot(each, owner)
        model_update, updates = said
        if updates is None and model_update is None:
            updates = [{"id": id, **state.columns()} for id, state in states.items() if state]
        return model_update, updates

    @faulty
    def delete_cgsnapshot(
        self, cgsnapshot: GroupSnapshotRef, snapshots: Sequence[SnapshotRef]
    ) -> tuple[Update, Updates]:
        """Delete the snapshots, but for those whose planned entry is no success."""
        said, bad = self._planned("delete_cgsnapshot", snapshots)
        for each in snapshots:
            if each.id not in bad:
                self.delete_snapshot(each)
        return said

    @faulty
    def enable_replication(self, group: GroupRef, volumes: Sequence[VolumeRef]) -> tuple[Update, Updates]:
        """Copy each volume to the other sites from now on."""
        return self._noted(volumes, "copying")

    @faulty
    def disable_replication(self, group: GroupRef, volumes: Sequence[VolumeRef]) -> tuple[Update, Updates]:
        """Copy no more."""
        return self._noted(volumes, "active-stopped")

    @faulty
    def failover_replication(
        self, group: GroupRef, volumes: Sequence[VolumeRef], secondary_backend_id: str | None
    ) -> tuple[Update, Updates]:
        """As a failover of the backend, of these volumes only."""
        with self._replicas.lock:
            target = self._target(secondary_backend_id)
            move = self._come_back if target == DEFAULT_TARGET else self._fail_over
            return None, [{"id": each.id, **_without_good(move(each, target))} for each in volumes]

    def _noted(self, volumes: Sequence[VolumeRef], status: str) -> tuple[Update, Updates]:
        entries = []
        with self._replicas.lock:
            for volume in volumes:
                id = self._ids.to_use(volume).id
                found = self._replicas.find(id) or Note()
                note = self._replicas.keep(id, Note(found.site, status, found.at))
                if status == "copying":
                    note = self._replicas.sync(id, note, partial(self._site, volume=volume))
                entries.append({"id": volume.id, **note.update()})
        return None, entries

    def _planned(
        self, verb: str, refs: Sequence[VolumeRef] | Sequence[SnapshotRef]
    ) -> tuple[tuple[Update, Updates], set[str]]:
        """What is to be returned, and the ids of the objects that are to fail."""
        said = self._said(verb, [each.id for each in refs])
        return said, {each["id"] for each in said[1] or () if each.get("status") not in _GOOD}

    def _said(self, verb: str, ids: Sequence[str]) -> tuple[Update, Updates]:
        status, statuses = (self.faults.returned(f"{verb} {what}", None) for what in ("status", "entries"))
        entries = (
            None if statuses is None else [{"id": id, "status": each} for id, each in zip(ids, statuses, strict=False)]
        )
        return ({"status": status} if status else None), entries

    def _read(self, id: str) -> set[str]:
        try:
            return set(json.loads((self._groups / id).read_text()))
        except FileNotFoundError:
            return set()

    def _keep(self, id: str, volumes: set[str]) -> None:
        self._groups.mkdir(exist_ok=True)
        atomic_file.write(self._groups / id, json.dumps(sorted(volumes)).encode(), durable=False)


def _without_good(update: Mapping[str, Any]) -> dict[str, Any]:
    """Without a status that says no more than that it is well."""
    return {name: value for name, value in update.items() if (name, value) != ("status", "available")}
