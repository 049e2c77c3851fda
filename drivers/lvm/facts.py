"""What LVM reports, as data: parsed from `--reportformat json`, without running anything.

Source: lvmreport(7), lvs(8), vgs(8). Sizes are asked for in bytes without suffix; LVM reports every field as text.
"""

import json
from dataclasses import dataclass

# An object's owner is a tag of its own, set by the same metadata commit that makes the object.
OWNER = "nbdsvc.owner="


@dataclass(frozen=True)
class LogicalVolume:
    """One LV. size: bytes (virtual for thin ones). pool: name of its thin pool, or "". data_percent: of a thin LV or pool."""

    name: str
    size: int
    pool: str
    origin: str
    tags: tuple[str, ...]
    attributes: str
    data_percent: float
    metadata_percent: float

    @property
    def owner(self) -> str | None:
        return next((tag.removeprefix(OWNER) for tag in self.tags if tag.startswith(OWNER)), None)

    @property
    def is_thin_pool(self) -> bool:
        return self.attributes.startswith("t")

    @property
    def used(self) -> int:
        """Bytes of the pool that it occupies."""
        return int(self.size * self.data_percent / 100)


@dataclass(frozen=True)
class VolumeGroup:
    """One VG, sizes in bytes. missing: physical volumes that are not there."""

    name: str
    size: int
    free: int
    extent: int
    missing: int


LV_FIELDS = "lv_name,lv_size,pool_lv,origin,lv_tags,lv_attr,data_percent,metadata_percent"
VG_FIELDS = "vg_name,vg_size,vg_free,vg_extent_size,vg_missing_pv_count"


def logical_volumes(report: str) -> list[LogicalVolume]:
    return [
        LogicalVolume(
            name=row["lv_name"],
            size=int(row["lv_size"]),
            pool=row["pool_lv"],
            origin=row["origin"],
            tags=tuple(tag for tag in row["lv_tags"].split(",") if tag),
            attributes=row["lv_attr"],
            data_percent=float(row["data_percent"] or 0),
            metadata_percent=float(row["metadata_percent"] or 0),
        )
        for row in json.loads(report)["report"][0]["lv"]
    ]


def volume_groups(report: str) -> list[VolumeGroup]:
    return [
        VolumeGroup(
            name=row["vg_name"],
            size=int(row["vg_size"]),
            free=int(row["vg_free"]),
            extent=int(row["vg_extent_size"]),
            missing=int(row["vg_missing_pv_count"] or 0),
        )
        for row in json.loads(report)["report"][0]["vg"]
    ]
