"""Reports of LVM as data: parsed from `--reportformat json`, without running anything.

Source: lvmreport(7), lvs(8), vgs(8). Sizes are requested in bytes without suffix; LVM reports every field as text.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

# An object's owner is a tag of its own, set by the same metadata commit that makes the object.
OWNER = "nbdsvc.owner="
# LVs that are not objects: being made, replaced, extended or deleted. See docs/lvm.md.
TEMP_NEW, TEMP_OLD, TEMP_EXTEND, TRASH = "nbdsvc-new-", "nbdsvc-old-", "nbdsvc-more-", "nbdsvc-trash-"


@dataclass(frozen=True)
class LogicalVolume:
    """An LV. size: bytes that it occupies (virtual for thin ones). pool: name of its thin pool, or "".

    origin_size: of a classic snapshot, the bytes that it reads as. data_percent: of a thin LV, a pool or a classic
    snapshot. metadata_size, when_full and zeroing: of a pool.
    """

    name: str
    size: int
    pool: str
    origin: str
    origin_size: int
    tags: tuple[str, ...]
    attributes: str
    data_percent: float
    metadata_percent: float
    metadata_size: int
    when_full: str
    zeroing: bool
    # The number of a thin LV in its pool; None for another one.
    thin_id: int | None = None

    @property
    def owner(self) -> str | None:
        """The owner in the LV's tag; None for an LV that nbdsvc does not manage."""
        return next((tag.removeprefix(OWNER) for tag in self.tags if tag.startswith(OWNER)), None)

    # The letters of lv_attr, lvs(8): 1 type, 5 state, 6 open, 9 health, 10 activation skip.

    @property
    def is_thin_pool(self) -> bool:
        """Whether the LV is a thin pool."""
        return self.attributes[0] == "t"

    @property
    def is_thin(self) -> bool:
        """Whether the LV is a thin volume or thin snapshot."""
        return self.attributes[0] == "V"

    @property
    def is_classic_snapshot(self) -> bool:
        """Whether the LV is a copy-on-write snapshot with extents of its own."""
        return self.attributes[0] in "sS"

    @property
    def has_classic_snapshots(self) -> bool:
        """Whether the LV is the origin of a classic snapshot."""
        return self.attributes[0] in "oO"

    @property
    def is_plain(self) -> bool:
        """Linear, striped, mirrored or RAID: an LV with all its extents."""
        return self.attributes[0] in "-oOmMrR" and not self.pool

    @property
    def active(self) -> bool:
        """Whether the LV is active, suspended ones included."""
        return self.attributes[4] != "-"

    @property
    def suspended(self) -> bool:
        """Whether the LV is suspended: I/O to it waits."""
        return self.attributes[4] in "sS"

    @property
    def overflowed(self) -> bool:
        """Whether the LV is a classic snapshot that ran out of room for changes: its bytes are lost for good."""
        return self.attributes[4] in "IS"

    @property
    def open(self) -> bool:
        """Whether the LV's device is open: mounted, exported, or below another device."""
        return self.attributes[5] == "o"

    @property
    def health(self) -> str:
        """The health letter of lv_attr; "-" for a healthy LV."""
        return self.attributes[8]

    @property
    def skipped(self) -> bool:
        """Whether the LV has the flag that excludes it from activation."""
        return self.attributes[9] == "k"

    @property
    def used(self) -> int:
        """Bytes of the pool that it occupies."""
        return int(self.size * self.data_percent / 100)

    @property
    def virtual_size(self) -> int:
        """Bytes of its device."""
        return self.origin_size if self.is_classic_snapshot else self.size

    @property
    def is_temporary(self) -> bool:
        """Whether the driver made it as a step to another LV, or is deleting it."""
        return self.name.startswith((TEMP_NEW, TEMP_OLD, TEMP_EXTEND, TRASH))


@dataclass(frozen=True)
class VolumeGroup:
    """A VG, sizes in bytes. missing: number of physical volumes that are absent."""

    name: str
    size: int
    free: int
    extent: int
    missing: int
    uuid: str = ""


LV_FIELDS = (
    "lv_name,lv_size,pool_lv,origin,origin_size,lv_tags,lv_attr,data_percent,metadata_percent,lv_metadata_size,"
    "lv_when_full,zero,thin_id"
)
VG_FIELDS = "vg_name,vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_uuid"


def logical_volumes(report: str) -> list[LogicalVolume]:
    """The LVs in a report of `lvs -o LV_FIELDS`."""
    return [
        LogicalVolume(
            name=row["lv_name"],
            size=int(row["lv_size"]),
            pool=row["pool_lv"],
            origin=row["origin"],
            origin_size=int(row["origin_size"] or 0),
            tags=tuple(tag for tag in row["lv_tags"].split(",") if tag),
            attributes=row["lv_attr"],
            data_percent=float(row["data_percent"] or 0),
            metadata_percent=float(row["metadata_percent"] or 0),
            metadata_size=int(row["lv_metadata_size"] or 0),
            when_full=row["lv_when_full"],
            zeroing=row["zero"] in ("zero", "1"),
            thin_id=int(row["thin_id"]) if row.get("thin_id") else None,
        )
        for row in json.loads(report)["report"][0]["lv"]
    ]


def volume_groups(report: str) -> list[VolumeGroup]:
    """The VGs in a report of `vgs -o VG_FIELDS`."""
    return [
        VolumeGroup(
            name=row["vg_name"],
            size=int(row["vg_size"]),
            free=int(row["vg_free"]),
            extent=int(row["vg_extent_size"]),
            missing=int(row["vg_missing_pv_count"] or 0),
            uuid=row["vg_uuid"],
        )
        for row in json.loads(report)["report"][0]["vg"]
    ]


def extent_ranges(report: str) -> list[str]:
    """`/dev/sda:0-99` for each run of extents of one LV, as lvextend takes them."""
    segments: Iterable[dict[str, str]] = json.loads(report)["report"][0]["seg"]
    return [text for segment in segments for text in segment["seg_pe_ranges"].split()]
