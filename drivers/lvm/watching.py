"""Decides on a pool or a snapshot that runs full: from facts alone; the driver acts."""

from dataclasses import dataclass

from drivers.lvm.facts import LogicalVolume, VolumeGroup
from nbdsvc.units import GiB, human

# The largest metadata that dm-thin can use (lvmthin(7)).
MAX_METADATA = 15 * GiB + 800 * (1 << 20)


@dataclass(frozen=True)
class Policy:
    """Growth of a pool: from `threshold` per cent on, by `percent` of its size; percent 0: never.

    Full metadata make a pool read-only, so they are doubled early, from `metadata_threshold` on, and no new object is made
    from `metadata_refusal` on.
    """

    threshold: float = 80.0
    percent: int = 20
    metadata_threshold: float = 60.0
    metadata_refusal: float = 90.0


@dataclass(frozen=True)
class Growth:
    """A growth of an LV by so many bytes: of its data, or with `metadata` of its metadata."""

    name: str
    more: int
    metadata: bool = False


@dataclass(frozen=True)
class Verdict:
    """The growths to make, and the warnings for the operator."""

    growths: tuple[Growth, ...] = ()
    warnings: tuple[str, ...] = ()


def pool(found: LogicalVolume, group: VolumeGroup, policy: Policy) -> Verdict:
    """The metadata first: without it the data is of no use. LVM keeps a spare of it that grows too, hence twice."""
    growths, warnings, free = [], [], group.free
    if found.metadata_percent >= policy.metadata_threshold:
        more = min(found.metadata_size, MAX_METADATA - found.metadata_size, _extents(free // 2, group))
        if policy.percent and more > 0:
            growths.append(Growth(found.name, more, metadata=True))
            free -= 2 * more
        else:
            warnings.append(_full(found, "metadata", found.metadata_percent, group))
    data = _grown(found, free, group, policy)
    if data:
        growths.append(data)
    elif found.data_percent >= policy.threshold:
        warnings.append(_full(found, "data", found.data_percent, group))
    return Verdict(tuple(growths), tuple(warnings))


def snapshot(found: LogicalVolume, group: VolumeGroup, policy: Policy) -> Verdict:
    """A classic snapshot that runs full is lost: it grows as a pool does, up to what its volume's whole content takes."""
    if found.overflowed or found.data_percent < policy.threshold:
        return Verdict()
    growth = _grown(found, min(group.free, whole(found.origin_size) - found.size), group, policy)
    if growth:
        return Verdict((growth,))
    enough = found.size >= whole(found.origin_size)
    return Verdict() if enough else Verdict((), (_full(found, "room", found.data_percent, group),))


def whole(size: int) -> int:
    """Room of a classic snapshot that can never overflow: everything changed, and its table (16 bytes for each 4 KiB)."""
    return size + size // 256 + (8 << 20)


def refusal(found: LogicalVolume, policy: Policy) -> str:
    """The reason why a thin pool takes no new object; empty where it takes one."""
    if found.metadata_percent >= policy.metadata_refusal:
        return f"the metadata of {found.name} is {found.metadata_percent:.0f} % full, and a pool whose metadata is full fails"
    if found.data_percent >= 100:
        return f"{found.name} is full"
    return ""


def _grown(found: LogicalVolume, free: int, group: VolumeGroup, policy: Policy) -> Growth | None:
    if not policy.percent or found.data_percent < policy.threshold:
        return None
    wanted = -(-found.size * policy.percent // 100 // group.extent) * group.extent
    more = min(wanted, _extents(free, group))
    return Growth(found.name, more) if more > 0 else None


def _extents(size: int, group: VolumeGroup) -> int:
    return max(0, size) // group.extent * group.extent


def _full(found: LogicalVolume, what: str, percent: float, group: VolumeGroup) -> str:
    return f"{what} of {found.name} is {percent:.0f} % full, and {group.name} has {human(group.free)} to extend it with"
