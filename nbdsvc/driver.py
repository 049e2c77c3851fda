"""Contract of a volume backend: the control path only.

A driver makes, grows, copies and removes the backend's objects. It moves no bytes on behalf of a client, exports
nothing and knows no database, no operation and no setting but the arguments of its constructor (row S060): bytes go
through `local_path` and datapath/, transports are exporters.

Rules that every method keeps, and tests/contract/test_driver.py checks:

* Idempotent. The same call with the same `owner` after a crash, at any moment, ends in the same state: "there already
  and mine" is success. `owner` is the id of the operation that makes the object, stored with the object; an object of
  that name with another owner is a `Conflict`, never touched.
* Removing what is not there is success. Deleting is O(1) for the caller.
* A failure leaves nothing behind but what a repeated call or `delete_*` removes. Full: `OutOfSpace`. Gone or not set
  up: `BackendUnavailable`.
* What a driver can do is declared in `capabilities`, never found out by trying.

Sizes are bytes. The verbs are those of the reference (rows S061-S094), so that whoever wrote such a driver is at home.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from nbdsvc import errors

ENTRY_POINT_GROUP = "nbdsvc.drivers"


@dataclass(frozen=True)
class VolumeRef:
    """What a driver gets to know of a volume: its id, its size in bytes and the extra specs of its type."""

    id: str
    size: int
    extra_specs: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SnapshotRef:
    """What a driver gets to know of a snapshot: its id, its volume's id and the volume's size when it was taken."""

    id: str
    volume_id: str
    size: int


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do, declared once.

    `instant_clone`: clones and snapshots share blocks, so that they cost no copy and may be taken of a volume in use.
    Where it is False, `create_snapshot` makes an object that still has to be filled, `create_cloned_volume` and
    `create_volume_from_snapshot` are never called, and the manager copies the bytes through the data path, from volumes
    that nobody writes. `instant_snapshot`: snapshots are points in time at once all the same, though clones are copied.
    `online_extend`: a volume may grow while exported. `thin`: space is taken when written.
    """

    thin: bool
    instant_clone: bool
    instant_snapshot: bool = False
    online_extend: bool = True
    multiattach: bool = True

    @property
    def point_in_time(self) -> bool:
        """Whether create_snapshot leaves nothing to be filled, also of a volume in use."""
        return self.instant_clone or self.instant_snapshot


@dataclass(frozen=True)
class Manageable:
    """An object of the pool as somebody who wants to take it over sees it. `reference`: what manage_existing takes.

    size: bytes. `reason`: why it cannot be taken over now; empty: it can. `id`: of the volume or snapshot that it has the
    name of. `source`: for a snapshot, the reference of its volume.
    """

    reference: dict[str, str]
    size: int
    reason: str = ""
    id: str | None = None
    source: dict[str, str] | None = None


@dataclass(frozen=True)
class PoolStats:
    """One pool's truth, in bytes. `reserved_percentage` and `max_over_subscription_ratio` as the operator set them.

    `provisioned`: sum of the sizes promised to volumes; `allocated`: what they really occupy. `metadata_percent`: how full
    the pool's own book-keeping is, where it has one that can be full.
    """

    name: str
    total: int
    free: int
    provisioned: int
    allocated: int
    volumes: int
    reserved_percentage: int = 0
    max_over_subscription_ratio: float = 20.0
    thin: bool = True
    metadata_percent: float | None = None

    def room(self) -> int:
        """Bytes that may still be promised to new volumes: thin by over-subscription, thick by what is free."""
        reserved = self.total * self.reserved_percentage // 100
        if not self.thin:
            return max(0, self.free - reserved)
        if self.free - reserved <= 0:
            return 0
        promised = int((self.total - reserved) * self.max_over_subscription_ratio) - self.provisioned
        return max(0, promised)


@runtime_checkable
class Driver(Protocol):
    """A volume backend. `name` is the backend's name in `host@backend#pool`."""

    name: str
    VERSION: str

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do. Constant after `do_setup`."""

    # Start (S061, S062, S021)

    def do_setup(self) -> None:
        """Make what the backend needs. Idempotent."""

    def check_for_setup_error(self) -> None:
        """Raise ConfigError or BackendUnavailable when the backend cannot serve; called before each use of a sick one."""

    def get_version(self) -> str:
        """The driver's VERSION."""

    # Facts (S063, S078-S080)

    def get_volume_stats(self, refresh: bool = False) -> list[PoolStats]:
        """The pools' statistics, measured anew with `refresh`."""

    def get_pool(self, volume: VolumeRef) -> str:
        """Name of the pool that holds the volume."""

    def get_filter_function(self) -> str | None:
        """The scheduler's filter expression; None passes always (S078)."""

    def get_goodness_function(self) -> str | None:
        """The scheduler's goodness expression; None scores 0 (S078)."""

    def local_path(self, volume: VolumeRef) -> Path:
        """Path of the volume's block device or file on this host (S093)."""

    def snapshot_path(self, snapshot: SnapshotRef) -> Path:
        """The same for a snapshot, to be read only."""

    def list_objects(self) -> list["BackendObject"]:
        """Every object in the pool, so that what nobody owns, and what is lost, can be found."""

    def check_room(self, needed: int) -> None:
        """OutOfSpace when writing `needed` bytes into volumes would overrun the pool."""

    def watch(self) -> None:
        """Called at every report: grow what runs full, wake what sleeps, warn of what cannot be mended."""

    # Volumes (S064-S066, S092)

    def create_volume(self, volume: VolumeRef, owner: str) -> None:
        """A volume of `volume.size` bytes that reads as zeros."""

    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove it. DeviceBusy while a snapshot needs it."""

    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Grow to `new_size` bytes, also while exported; new bytes read as zeros. Never shrinks (S092)."""

    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef, owner: str) -> None:
        """A volume with the source's bytes, grown to `volume.size` (S066). Only with `instant_clone`."""

    # Snapshots (S094)

    def create_snapshot(self, snapshot: SnapshotRef, owner: str) -> None:
        """A point in time of the volume: what was written before this call, nothing that is written after it.

        Where neither clones nor snapshots are instant: an object of `snapshot.size` zeros, which the manager then fills.
        """

    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove it; volumes made of it stay whole."""

    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """A volume with the snapshot's bytes, grown to `volume.size`. Only with `instant_clone`."""

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef, owner: str) -> None:
        """Give a volume that nobody uses the bytes of its snapshot again: all of them or none. Only with `instant_clone`."""

    # Taking over what exists (S097-S100). `ref` is what the client gave, passed through as it is.

    def manage_existing(self, volume: VolumeRef, ref: dict[str, str], owner: str) -> None:
        """Give the object that `ref` names to `volume`, grown to `volume.size`; its bytes stay.

        InvalidInput for a reference that names nothing, or whose object does not fit the backend or the volume's type;
        Conflict for one that is managed already; DeviceBusy while somebody has it open.
        """

    def manage_existing_get_size(self, volume: VolumeRef, ref: dict[str, str]) -> int:
        """Bytes of the object that `ref` names, rounded up to whole GiB."""

    def unmanage(self, volume: VolumeRef, owner: str | None = None, ref: dict[str, str] | None = None) -> None:
        """Let go of the volume's object, which stays, under its name. Not there: success.

        As the undo of manage_existing: only of what has this `owner`, and back under the name in `ref`.
        """

    def get_manageable_volumes(self) -> list[Manageable]:
        """Every object that is a volume or could become one, managed ones too."""

    def manage_existing_snapshot(self, snapshot: SnapshotRef, ref: dict[str, str], owner: str) -> None:
        """The same for a snapshot of an existing volume. InvalidInput for an object that is another volume's."""

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, ref: dict[str, str]) -> int:
        """The same for a snapshot."""

    def unmanage_snapshot(
        self, snapshot: SnapshotRef, owner: str | None = None, ref: dict[str, str] | None = None
    ) -> None:
        """The same for a snapshot."""

    def get_manageable_snapshots(self) -> list[Manageable]:
        """Every object that is a snapshot of a volume or could become one."""


@dataclass(frozen=True)
class BackendObject:
    """One object in a pool. kind: volume, snapshot or other; id: None for an object that is not ours.

    `fault`: why its bytes are lost for good; empty where they are not. `origin`: of a snapshot, its volume's id; None
    where the pool does not tell.
    """

    kind: str
    id: str | None
    owner: str | None
    name: str
    size: int
    fault: str = ""
    origin: str | None = None


def describe(driver: Driver) -> dict[str, Any]:
    """The capabilities document of `GET /capabilities/{host}`: statistics and standard properties (S036, S082)."""
    able = driver.capabilities
    standard = {
        "thin_provisioning": ("Thin Provisioning", "Sets thin provisioning.", able.thin),
        "compression": ("Compression", "Enables compression.", False),
        "qos": ("QoS", "Enables QoS.", False),
        "replication_enabled": ("Replication", "Enables replication.", False),
    }
    return {
        "driver_version": driver.get_version(),
        "volume_backend_name": driver.name,
        "vendor_name": "nbdsvc",
        "properties": {
            name: {"title": title, "description": text, "type": "boolean", "default": value}
            for name, (title, text, value) in standard.items()
        },
    }


def load(kind: str) -> Callable[..., Driver]:
    """The driver class that some installed package offers as entry point `kind` of the group nbdsvc.drivers."""
    offered = entry_points(group=ENTRY_POINT_GROUP)
    for point in offered:
        if point.name == kind:
            return cast("Callable[..., Driver]", point.load())
    known = ", ".join(sorted(point.name for point in offered)) or "none"
    raise errors.ConfigError(setting="driver", reason=f"no driver is called {kind}; installed are: {known}")
