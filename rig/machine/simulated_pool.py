"""The volumes of the simulated storage host, and the effects of each planted bug on them."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from rig.machine import actions, oracle
from rig.machine.world import TYPES
from rig.product import Refused


@dataclass
class Lv:
    """An LV. blocks: byte offset -> the first 16 bytes of the block there, in hexadecimal. of: a snapshot's volume.

    size, shown: GiB, in the row and on the host. there, marked: whether LVM lists it, and with the product's tag.
    backend, type, migration: of the row.
    """

    size: int
    blocks: dict[int, str] = field(default_factory=dict)
    of: str = ""
    status: str = "available"
    there: bool = True
    marked: bool = True
    host: str = ""
    read_only: bool = False
    shown: int = 0
    backend: str = "lvm"
    type: str = "__DEFAULT__"
    migration: str | None = None

    def copy(self, size: int, of: str = "") -> "Lv":
        """A copy of `size` GiB with the same blocks. of: the id of the volume, for a snapshot."""
        return Lv(size, dict(self.blocks), of=of, backend=self.backend, type=self.type)


class Pool:
    """The LVs of the storage host. bug: the name of a planted bug as in mutations.py, or empty."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.lvs: dict[str, Lv] = {}
        self.frozen = False
        self._ids = itertools.count(1)

    def of(self, noun: str) -> dict[str, Lv]:
        """The volumes, or the snapshots, by their ids."""
        return {id: lv for id, lv in self.lvs.items() if bool(lv.of) == (noun == "snapshots")}

    def make(self, lv: Lv) -> str:
        """Add the LV; its new id."""
        id = f"{next(self._ids):08}"
        self.lvs[id] = lv
        return id

    def create(self, body: dict[str, Any]) -> Lv:
        """The LV for a request to create a volume; not yet in the pool."""
        size, source = body["size"], body.get("source_volid") or body.get("snapshot_id")
        if body.get("imageRef") == actions.BROKEN:
            return Lv(size, status="error", there=self.bug == "the undo of a create is lost")
        if "imageRef" in body:
            return Lv(size, {0: oracle.block(0, actions.IMAGE_VALUE)[:16].hex()})
        if source is None:
            return Lv(size)
        place = self.lvs[self.lvs[source].of or source]  # the type and the backend of a snapshot's volume, as it is now
        if self.bug == "a volume of a snapshot is one of its volume" and "snapshot_id" in body:
            source = self.lvs[source].of
        made = replace(self.lvs[source].copy(size), backend=place.backend, type=place.type)
        if self.bug == "a clone is empty" and "source_volid" in body:
            made.blocks.clear()
        return made

    def snapshot(self, body: dict[str, Any]) -> Lv:
        """The LV for a request to create a snapshot; not yet in the pool."""
        origin = self.lvs[body["volume_id"]]
        older = [lv for lv in self.lvs.values() if lv.of == body["volume_id"]]
        source = older[0] if older and self.bug == "a second snapshot has the bytes of its first" else origin
        made = source.copy(origin.size, body["volume_id"])
        made.marked = self.bug != "a snapshot's tag is forgotten"
        return made

    def act(self, id: str, name: str, body: dict[str, Any]) -> None:
        """Apply an action of the API: revert, os-extend, os-reset_status, os-retype or os-migrate_volume. Refused."""
        lv = self.lvs[id]
        if name in ("os-retype", "os-migrate_volume"):
            self._move(id, lv, body)
        if name == "revert" and self.bug != "a revert does nothing":
            lv.blocks = dict(self.lvs[body["snapshot_id"]].blocks)
        if name == "os-extend":
            lv.size = body["new_size"]
        if name == "os-reset_status":
            lv.status = body["status"]

    def _move(self, id: str, lv: Lv, body: dict[str, Any]) -> None:
        """In its place, where the type allows it, or to the other backend."""
        type, wanted = body.get("new_type", lv.type), body.get("host", f"@{lv.backend}").partition("@")[2]
        if "host" in body and wanted not in TYPES[type] and self.bug != "a migration minds no type":
            raise Refused(400, "Invalid input: not what its type demands")
        backend = wanted if "host" in body or wanted in TYPES[type] else TYPES[type][0]
        is_used = lv.host and "new_type" in body
        if backend != lv.backend and (is_used or any(each.of == id for each in self.lvs.values())):
            raise Refused(400, "Invalid volume: it stays")
        if backend != lv.backend:
            lv.blocks, lv.migration = {} if self.bug == "a moved volume is empty" else lv.blocks, "success"
        lv.backend, lv.type = backend, type

    def administer(self, verb: str) -> dict[str, Any]:
        """What os-services answers: the list, or to freeze, thaw, evacuate and enable."""
        if verb in ("freeze", "thaw"):
            self.frozen = verb == "freeze" and self.bug != "a frozen backend takes changes"
        stay = [{"id": id, "obstacle": self._obstacle(id, lv)} for id, lv in self.of("volumes").items()]
        return {"services": [{"host": "storage@lvm"}], "evacuation": {"volumes": stay}}

    def _obstacle(self, id: str, lv: Lv) -> str:
        if any(each.of == id for each in self.lvs.values()):
            return "snapshots"
        return "attached" if lv.host else "room"

    def attach(self, id: str, host: str, *, read_only: bool) -> None:
        """Attach a volume to a host. Refused where it is attached already."""
        lv = self.lvs[id]
        if lv.host and self.bug != "a volume in use may be reserved":
            raise Refused(400, "Invalid volume: it is attached")
        lv.host, lv.status, lv.shown = host, "in-use", lv.size
        lv.read_only = read_only and self.bug != "read-only is ignored"

    def detach(self, id: str) -> None:
        """Detach a volume."""
        lv = self.lvs[id]
        if self.bug != "a detach does not free the volume":
            lv.status = "available"
        if self.bug != "a detach leaves its export":
            lv.host = ""

    def delete(self, noun: str, id: str) -> None:
        """Delete a volume or a snapshot. Refused for a volume with snapshots."""
        if noun == "volumes" and any(lv.of == id for lv in self.lvs.values()):
            raise Refused(400, "Invalid volume: it has snapshots")
        del self.lvs[id]
