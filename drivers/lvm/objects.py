"""The LVs of one group as objects with owners: found, classified, renamed, managed. The same for thin and thick."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from drivers import base
from drivers.lvm.commands import Commands
from drivers.lvm.facts import LogicalVolume, VolumeGroup
from nbdsvc import errors
from nbdsvc.driver import BackendObject, Manageable
from nbdsvc.model import names

log = structlog.get_logger(__name__)

# Why an LV does not fit the backend; empty where it does.
RejectReason = Callable[[LogicalVolume], str]


class Objects:
    """The LVs of a pool. `backend`: BACKEND or BACKEND#POOL, for messages. `holds`: which LVs of the group are the pool's."""

    def __init__(
        self, lvm: Commands, backend: str, holds: Callable[[LogicalVolume], bool] = lambda _found: True
    ) -> None:
        self.lvm = lvm
        self.backend = backend
        self._holds = holds
        # Held by whoever needs LVs to stay inactive or suspended for a moment.
        self.waking = threading.Lock()

    def group(self) -> VolumeGroup:
        """The group; BackendUnavailable where it is gone or not whole."""
        found = self.lvm.group_facts()
        if found is None:
            raise self.unavailable(f"there is no volume group {self.lvm.group} (volume_group)")
        if found.missing:
            raise self.unavailable(f"{found.missing} disks of volume group {found.name} are missing")
        return found

    def find(self, *wanted: str) -> dict[str, LogicalVolume]:
        """The LVs of these names that exist, by name; without names, all LVs of the pool."""
        try:
            return {found.name: found for found in self.lvm.volumes(*wanted) if self._holds(found)}
        except errors.CommandFailed:
            self.group()
            raise

    def must_find(self, name: str) -> LogicalVolume:
        """The LV of this name; BackendUnavailable where it does not exist."""
        found = self.find(name).get(name)
        if found is None:
            raise self.gone(name)
        return found

    def is_mine(self, found: LogicalVolume | None, owner: str) -> bool:
        """Whether an earlier attempt of `owner` made the LV. Conflict for another owner's LV of that name."""
        if found is None:
            return False
        if found.owner != owner:
            raise errors.Conflict(reason=f"{found.name} exists in {self.lvm.group} and belongs to another")
        return True

    @contextmanager
    def making(self, name: str, owner: str) -> Iterator[None]:
        """A block with the command that makes an LV. One that crashed after its commit is repeated, and finds its own LV."""
        try:
            yield
        except errors.CommandFailed as error:
            if "already exists" not in error.stderr or not self.is_mine(self.find(name).get(name), owner):
                raise

    def path(self, name: str) -> Path:
        """/dev/GROUP/NAME of the LV's device, whether it exists or not."""
        return self.lvm.path(name)

    def gone(self, name: str) -> errors.BackendUnavailable:
        """The BackendUnavailable error for a missing LV, to be raised by the caller."""
        return self.unavailable(f"{name} is not in the pool any more")

    def unavailable(self, reason: str) -> errors.BackendUnavailable:
        """The BackendUnavailable error of this backend, to be raised by the caller."""
        return errors.BackendUnavailable(backend=self.backend, reason=reason)

    def busy(self, name: str, reason: str) -> errors.DeviceBusy:
        """The DeviceBusy error for an LV in use, to be raised by the caller."""
        return errors.DeviceBusy(device=str(self.path(name)), reason=reason)

    def wake(self, found: Iterable[LogicalVolume]) -> None:
        """Activate the managed LVs that are not active, and resume those that a killed command left suspended.

        Groups that appear late at boot are not activated by the system, and snapshots of others may have the flag
        that keeps them from being activated.
        """
        ours = [lv for lv in found if lv.owner and not lv.is_temporary]
        with self.waking:
            self._activate([lv.name for lv in ours if not lv.active])
            for lv in ours:
                if lv.suspended:
                    self.lvm.refresh(lv.name)

    def _activate(self, names: Sequence[str]) -> None:
        """One that cannot be activated, such as a snapshot that was interrupted (one_moment.py), keeps no other asleep."""
        try:
            if names:
                self.lvm.activate(*names)
        except errors.CommandFailed as error:
            if "no end within" in error.stderr:
                raise
            if len(names) == 1:
                log.error("an LV cannot be activated", name=names[0], reason=error.stderr)
            else:
                for name in names:
                    self._activate([name])

    # Taking over

    def adopt(self, name: str, ref: dict[str, str], owner: str, reject_reason: RejectReason) -> LogicalVolume:
        """Give the LV that `ref` names to `owner`, as `name`, active. Tagged first: a repeated call finds it."""
        source = base.source_name(ref)
        found = self.find(name, source)
        if not self.is_mine(found.get(name), owner):
            self._take(found.get(source), name, ref, owner, reject_reason)
        taken = self.must_find(name)
        if not taken.active or taken.skipped:
            self.lvm.activate(name)
        return taken

    def _take(
        self, found: LogicalVolume | None, name: str, ref: dict[str, str], owner: str, reject_reason: RejectReason
    ) -> None:
        found = self.existing(found, ref)
        if found.owner not in (None, owner):
            raise base.managed(found.name, str(found.owner))
        if reason := reject_reason(found):
            raise base.bad_reference(ref, reason)
        if found.open:
            raise self.busy(found.name, "it is open")
        if found.owner is None:
            self.lvm.tag(found.name, owner)
        self.lvm.rename(found.name, name)

    def size_of(self, name: str, ref: dict[str, str]) -> int:
        """Bytes of the object under either name: this may be a repeat of what was killed."""
        source = base.source_name(ref)
        found = self.find(name, source)
        return self.existing(found.get(name) or found.get(source), ref).virtual_size

    def existing(self, found: LogicalVolume | None, ref: dict[str, str]) -> LogicalVolume:
        """`found`; bad_reference where it is None or one of the driver's temporary LVs."""
        if found is None or found.is_temporary:
            raise base.bad_reference(ref, f"there is no such LV in volume group {self.lvm.group}")
        return found

    def release(self, name: str, owner: str | None, ref: dict[str, str] | None) -> None:
        """Remove the owner's tag. As an undo: only from an LV of this owner, which gets the name in `ref` back."""
        back = base.source_name(ref) if ref else name
        for found in self.find(name, back).values():
            if found.owner is None or owner not in (None, found.owner):
                continue
            if found.name != back:
                self.lvm.rename(found.name, back)
            self.lvm.untag(back, found.owner)

    # Lists

    def describe(self, found: LogicalVolume, pool: str) -> BackendObject:
        """The LV as an object of the driver's contract; `fault` is set for a snapshot that overflowed."""
        kind, id = names.parse_name(found.name) or ("other", None)
        fault = "the room for its volume's changes ran out" if found.overflowed else ""
        origin = (names.parse_name(found.origin) or ("", None))[1] if kind == "snapshot" else None
        # A classic snapshot reads as large as its origin was, and occupies as much as its changes need.
        return BackendObject(kind, id, found.owner, found.name, found.virtual_size, pool, fault, origin)

    def manageable(self, kind: str, pool: str, reject_reason: RejectReason) -> list[Manageable]:
        """The LVs of `kind` ("volume" or "snapshot"), without pools and temporary LVs. pool: its name."""
        return [
            Manageable(
                reference={base.SOURCE_NAME: lv.name},
                size=lv.virtual_size,
                pool=pool,
                reason=_why_not(lv, reject_reason),
                id=(names.parse_name(lv.name) or ("", None))[1],
                source={base.SOURCE_NAME: lv.origin} if kind == "snapshot" else None,
            )
            for lv in self.find().values()
            if not lv.is_thin_pool and not lv.is_temporary and kind_of(lv) == kind
        ]


def kind_of(found: LogicalVolume) -> str:
    """The kind of an LV: by its name where it is ours, else snapshot if its origin is a volume of ours, else volume."""
    known = names.parse_name(found.name)
    if known:
        return known[0]
    return "snapshot" if (names.parse_name(found.origin) or ("",))[0] == "volume" else "volume"


def _why_not(found: LogicalVolume, reject_reason: RejectReason) -> str:
    if found.owner:
        return "it is managed already"
    return reject_reason(found) or ("it is open" if found.open else "")
