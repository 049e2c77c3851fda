"""Images of other programs, of sizes that are no multiple of anything: a volume reads as the image, and then as zeros."""

from pathlib import Path

from images import qemu_img

from walk import choices
from walk.choices import action, pick
from walk.disk import Disk, GiB, content
from walk.making import make, store_of
from walk.world import World

# Name: (suffix, words of qemu-img convert).
FORMATS = {
    "raw": ("raw", ["-O", "raw"]),
    "qcow2": ("qcow2", ["-O", "qcow2"]),
    "qcow2, compressed": ("qcow2", ["-c", "-O", "qcow2"]),
    "qcow2 of small clusters": ("qcow2", ["-O", "qcow2", "-o", "cluster_size=512"]),
    "qcow2 of an old version": ("qcow2", ["-O", "qcow2", "-o", "compat=0.10"]),
    "qcow2 with zstd": ("qcow2", ["-c", "-O", "qcow2", "-o", "compression_type=zstd"]),
    "qcow2 with subclusters": ("qcow2", ["-O", "qcow2", "-o", "extended_l2=on"]),
    "vmdk": ("vmdk", ["-O", "vmdk"]),
    "vmdk, a stream": ("vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    "vdi": ("vdi", ["-O", "vdi"]),
    "vhdx": ("vhdx", ["-O", "vhdx"]),
    "vpc": ("vhd", ["-O", "vpc", "-o", "force_size=on"]),
    "vpc, fixed": ("vhd", ["-O", "vpc", "-o", "subformat=fixed,force_size=on"]),
    "without a suffix that says it": ("img", ["-O", "raw"]),
}
# In sectors: one; around pages, clusters and pieces of copies; around whole GiB, in which volumes are sized.
SECTORS = (1, 7, 9, 127, 129, 2047, 8191, 8193, 131073, (1 << 21) - 1, 1 << 21, (1 << 21) + 1, 1023)
SECTOR = 512


@action(3, choices.room_for_volume)
def from_odd_image(world: World, format: int, sectors: int, type: int, middle: int) -> str:
    """The last sector of the image is not zero, and what is behind it in the volume is."""
    kind, name, value = pick(list(FORMATS), format), pick(list(world.types), type), world.next_value()
    size = SECTOR * pick(list(SECTORS), sectors)
    disk = Disk(-(-size // GiB))
    for offset in {0, size - SECTOR, (middle * 4099 % size) // SECTOR * SECTOR}:
        disk.write(offset, content(value + offset % 7, offset, SECTOR))
    world.values += 7
    path = _image(world.image_folder, value, kind, disk, size)
    try:
        said = make(world, store_of(world, name), disk, name, bootable=True, recorded=True, volume_type=name,
                    imageRef=_id(world, path))  # fmt: skip
    finally:
        path.unlink()
    return f"{kind} of {size} bytes: {said}"


def _id(world: World, path: Path) -> str:
    return next(str(each["id"]) for each in world.client.get("images")["images"] if each["name"] == path.name)


def _image(folder: Path, value: int, kind: str, disk: Disk, size: int) -> Path:
    """The image in the folder, by qemu-img of a raw file of these bytes."""
    suffix, words = FORMATS[kind]
    folder.mkdir(exist_ok=True)
    raw, made = folder.parent / f"odd{value}", folder / f"odd{value}.{suffix}"
    with raw.open("wb") as file:
        file.truncate(size)
        for number, block in disk.blocks.items():
            file.seek(number * len(block))
            file.write(block[: max(0, size - number * len(block))])
    qemu_img("convert", "-f", "raw", *words, raw, made)
    raw.unlink()
    return made
