"""The LVs of one group as objects with owners: found, told apart, renamed, taken over. The same for thin and thick."""

from collections.abc import Callable, Iterable
from pathlib import Path

from drivers import base
from drivers.lvm.commands import Commands
from drivers.lvm.facts import LogicalVolume, VolumeGroup
from nbdsvc import errors
from nbdsvc.driver import BackendObject, Manageable
from nbdsvc.model import names

# Says why an LV does not fit the backend; empty where it does.
Judge = Callable[[LogicalVolume], str]


class Objects:
    """`backend` names it in messages."""

    def __init__(self, lvm: Commands, backend: str) -> None:
        self.lvm = lvm
        self.backend = backend

    def group(self) -> VolumeGroup:
        """The group; BackendUnavailable where it is gone or not whole."""
        found = self.lvm.group_facts()
        if found is None:
            raise self.unavailable(f"there is no volume group {self.lvm.group} (volume_group)")
        if found.missing:
            raise self.unavailable(f"{found.missing} disks of volume group {found.name} are missing")
        return found

    def find(self, *wanted: str) -> dict[str, LogicalVolume]:
        """Those of these names that are there, by name; without names all of the group."""
        try:
            return {found.name: found for found in self.lvm.volumes(*wanted)}
        except errors.CommandFailed:
            self.group()
            raise

    def must_find(self, name: str) -> LogicalVolume:
        found = self.find(name).get(name)
        if found is None:
            raise self.gone(name)
        return found

    def is_mine(self, found: LogicalVolume | None, owner: str) -> bool:
        """True for what an earlier try made; Conflict for another's object of that name."""
        if found is None:
            return False
        if found.owner != owner:
            raise errors.Conflict(reason=f"{found.name} exists in {self.lvm.group} and belongs to somebody else")
        return True

    def make(self, name: str, owner: str, command: Callable[[], None]) -> None:
        """Run what makes it. A command that crashed after its commit was repeated, and found its own work: success."""
        try:
            command()
        except errors.CommandFailed as error:
            if "already exists" not in error.stderr or not self.is_mine(self.find(name).get(name), owner):
                raise

    def path(self, name: str) -> Path:
        return self.lvm.path(name)

    def gone(self, name: str) -> errors.BackendUnavailable:
        return self.unavailable(f"{name} is not in the pool any more")

    def unavailable(self, reason: str) -> errors.BackendUnavailable:
        return errors.BackendUnavailable(backend=self.backend, reason=reason)

    def busy(self, name: str, reason: str) -> errors.DeviceBusy:
        return errors.DeviceBusy(device=str(self.path(name)), reason=reason)

    def wake(self, found: Iterable[LogicalVolume]) -> None:
        """What is ours and not active becomes active; what a killed command left suspended is resumed.

        Groups that appear late at boot are not activated by the system, and snapshots of others may have the flag
        that keeps them from being activated.
        """
        ours = [lv for lv in found if lv.owner and not lv.passing]
        asleep = [lv.name for lv in ours if not lv.active]
        if asleep:
            self.lvm.activate(*asleep)
        for lv in ours:
            if lv.suspended:
                self.lvm.refresh(lv.name)

    # Taking over

    def adopt(self, name: str, ref: dict[str, str], owner: str, unfit: Judge) -> LogicalVolume:
        """What `ref` names becomes `owner`'s under `name`, active. Marked first, so that a repeat knows its own."""
        source = base.source_name(ref)
        found = self.find(name, source)
        if not self.is_mine(found.get(name), owner):
            self._take(found.get(source), name, ref, owner, unfit)
        taken = self.must_find(name)
        if not taken.active or taken.skipped:
            self.lvm.activate(name)
        return taken

    def _take(self, found: LogicalVolume | None, name: str, ref: dict[str, str], owner: str, unfit: Judge) -> None:
        found = self.existing(found, ref)
        if found.owner not in (None, owner):
            raise base.managed(found.name, str(found.owner))
        if reason := unfit(found):
            raise base.bad_reference(ref, reason)
        if found.open:
            raise self.busy(found.name, "somebody has it open")
        if found.owner is None:
            self.lvm.tag(found.name, owner)
        self.lvm.rename(found.name, name)

    def size_of(self, name: str, ref: dict[str, str]) -> int:
        """Bytes of the object under either name: this may be a repeat of what was killed."""
        source = base.source_name(ref)
        found = self.find(name, source)
        return self.existing(found.get(name) or found.get(source), ref).reads

    def existing(self, found: LogicalVolume | None, ref: dict[str, str]) -> LogicalVolume:
        if found is None or found.passing:
            raise base.bad_reference(ref, f"there is no such LV in volume group {self.lvm.group}")
        return found

    def release(self, name: str, owner: str | None, ref: dict[str, str] | None) -> None:
        """Nobody's from now on. As an undo: only with this owner's mark, and back under the name in `ref`."""
        back = base.source_name(ref) if ref else name
        for found in self.find(name, back).values():
            if found.owner is None or owner not in (None, found.owner):
                continue
            if found.name != back:
                self.lvm.rename(found.name, back)
            self.lvm.untag(back, found.owner)

    # Lists

    def describe(self, found: LogicalVolume) -> BackendObject:
        kind, id = names.parse_name(found.name) or ("other", None)
        fault = "the room for its volume's changes ran out" if found.overflowed else ""
        origin = (names.parse_name(found.origin) or ("", None))[1] if kind == "snapshot" else None
        # A classic snapshot reads as large as its origin was, and occupies as much as its changes need.
        return BackendObject(kind, id, found.owner, found.name, found.reads, fault, origin)

    def manageable(self, kind: str, found: Iterable[LogicalVolume], unfit: Judge) -> list[Manageable]:
        return [
            Manageable(
                reference={base.SOURCE_NAME: lv.name},
                size=lv.reads,
                reason=_why_not(lv, unfit),
                id=(names.parse_name(lv.name) or ("", None))[1],
                source={base.SOURCE_NAME: lv.origin} if kind == "snapshot" else None,
            )
            for lv in found
            if not lv.is_thin_pool and not lv.passing and kind_of(lv) == kind
        ]


def kind_of(found: LogicalVolume) -> str:
    """Ours by their names; a stranger is a snapshot if it was taken of a volume of ours, else a volume."""
    known = names.parse_name(found.name)
    if known:
        return known[0]
    return "snapshot" if (names.parse_name(found.origin) or ("",))[0] == "volume" else "volume"


def _why_not(found: LogicalVolume, unfit: Judge) -> str:
    if found.owner:
        return "it is managed already"
    return unfit(found) or ("somebody has it open" if found.open else "")
