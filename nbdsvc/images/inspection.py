"""Judges an image by its own bytes before any tool opens it.

Even `qemu-img info` follows the backing file and data file that an image names, which has been used to read other
people's files (CVE-2024-32498). So the format is found here, by reading; an image that could be two formats, is not
what it is declared to be, or names another file is refused with the reason. A file is raw when it is declared raw, or
when nothing explains its bytes (images/signatures.py). Format facts: docs/interop/qcow2.txt of QEMU; signatures as in
oslo.utils' format inspectors.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from nbdsvc import errors
from nbdsvc.images.formats import foreign, ova, signatures
from nbdsvc.units import MiB

Read = Callable[[int, int], bytes]
ACCEPTED = ("raw", "qcow2", *foreign.FORMATS, "ova")

_QCOW2 = b"QFI\xfb"
_FIXED = 2
_VHD_FOOTER, _VHD_MARK = 512, b"conectix"
# name -> (offset, signature). What nbdsvc names in a refusal, and what makes an image ambiguous.
_SIGNATURES: dict[str, tuple[int, bytes]] = {
    "qcow2": (0, _QCOW2),
    "vmdk": (0, b"KDMV"),
    "vmdk descriptor": (0, b"# Disk DescriptorFile"),
    "vdi": (0x40, b"\x7f\x10\xda\xbe"),
    "vpc": (0, _VHD_MARK),
    "vhdx": (0, b"vhdxfile"),
    "luks": (0, b"LUKS\xba\xbe"),
    "iso": (0x8001, b"CD001"),
    "mbr or gpt": (510, b"\x55\xaa"),
}
# A disk image may well hold a partition table, a CD or an encrypted container: as raw bytes that is its own business.
_CONTENT = frozenset({"mbr or gpt", "iso", "luks"})
_L1_MAX_BYTES = 32 * MiB
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 1, 2, 4, 8, 16


@dataclass(frozen=True)
class ImageFacts:
    """The facts of an accepted image. Sizes in bytes; cluster_size 0 for raw; offset: its begin in its container.

    is_plain: the guest's bytes stand there as they are, from the beginning: raw, and fixed VHD.
    """

    format: str
    virtual_size: int
    file_size: int
    cluster_size: int = 0
    offset: int = 0
    is_plain: bool = False

    @property
    def is_foreign(self) -> bool:
        """Whether our core does not read it: another tool does, in a child."""
        return self.offset > 0 or (self.format in foreign.FORMATS and not self.is_plain)


# A device or an export that was declared raw; its size is its own.
RAW = ImageFacts("raw", 0, 0, is_plain=True)


def inspect(read: Read, size: int, name: str, declared: str | None = None, disk: str | None = None) -> ImageFacts:
    """The image's facts, or BadImage. `read(offset, length)` gives exact bytes; `size` is the file's size.

    disk: the name of one in an appliance, which has to be one then.
    """
    if declared is not None and declared not in ACCEPTED:
        raise errors.BadImage(image=name, reason=f"format {declared} is not supported, only {' and '.join(ACCEPTED)}")
    detected = detect(read, size, name, declared)
    if declared is not None and declared != detected:
        raise errors.BadImage(image=name, reason=f"it is declared as {declared}, but its content is {detected}")
    if detected == "ova":
        return _inspect_ova(read, size, name, disk)
    if disk is not None:
        raise errors.BadImage(image=name, reason=f"it is no OVA, so it holds no disk {disk!r}")
    if detected == "raw":
        return _inspect_raw(read, size, name, declared)
    if detected == "vpc" and not _has(read, size, 0, _VHD_MARK):
        return _inspect_fixed_vhd(read, size, name)
    if detected in foreign.FORMATS:
        return ImageFacts(detected, foreign.virtual_size(read, size, name, detected), size)
    return _inspect_qcow2(read, size, name)


def detect(read: Read, size: int, name: str, declared: str | None = None) -> str:
    """The format, one of ACCEPTED, by the bytes. BadImage where they could be two, or are a format that is not read."""
    if declared in (None, "ova") and ova.is_ova(read, size):
        return "ova"
    found = {kind for kind, (offset, mark) in _SIGNATURES.items() if _has(read, size, offset, mark)}
    formats = found - _CONTENT
    if not formats:
        # The header stands behind the data, and there may be anything in those.
        is_vhd = declared != "raw" and _has(read, size, size - _VHD_FOOTER, _VHD_MARK)
        return "vpc" if is_vhd else "raw"
    if len(found) > 1:
        raise errors.BadImage(image=name, reason=f"it could be several formats at once: {', '.join(sorted(found))}")
    detected = next(iter(formats))
    if detected not in ACCEPTED:
        raise errors.BadImage(image=name, reason=f"its format is {detected}, which is not supported")
    return detected


def _inspect_raw(read: Read, size: int, name: str, declared: str | None) -> ImageFacts:
    """Raw is declared, or nothing else explains the bytes."""
    if size == 0:
        raise errors.BadImage(image=name, reason="it is empty")
    other = None if declared == "raw" else signatures.recognise(read, size)
    if other:
        reason = f"its content is {other}, which is not supported: unpack or convert it, or declare it as raw"
        raise errors.BadImage(image=name, reason=reason)
    return ImageFacts("raw", size, size, is_plain=True)


def _inspect_fixed_vhd(read: Read, size: int, name: str) -> ImageFacts:
    """A raw disk with a footer behind it, which is not the guest's. Source: Microsoft's VHD specification."""
    footer = read(size - _VHD_FOOTER, _VHD_FOOTER)
    (_, version, _), (virtual, _, kind, checksum) = (
        struct.unpack(">IIQ", footer[8:24]),
        struct.unpack(">QIII", footer[48:68]),
    )
    for wrong, reason in (
        (kind != _FIXED, f"it ends with the footer of a VHD of type {kind}, whose header is missing: is it truncated?"),
        (version != 0x00010000, f"its VHD version is {version:#x}"),
        (~sum(footer[:64] + footer[68:]) & 0xFFFFFFFF != checksum, "its VHD footer is damaged: its checksum is wrong"),
        (virtual != size - _VHD_FOOTER, f"its VHD footer says {virtual} bytes, but it has {size - _VHD_FOOTER}"),
        (virtual == 0, "its virtual size is 0"),
    ):
        if wrong:
            raise errors.BadImage(image=name, reason=reason)
    return ImageFacts("vpc", virtual, size, is_plain=True)


def _inspect_ova(read: Read, size: int, name: str, wanted: str | None) -> ImageFacts:
    """The facts of the disk in it, which has to say itself what it is."""
    disk = ova.find_disk(read, size, name, wanted)

    def read_disk(at: int, length: int) -> bytes:
        return read(disk.offset + at, length)

    inner = f"{name}: {disk.name}"
    if detect(read_disk, disk.size, inner) not in ("raw", "ova"):
        facts = inspect(read_disk, disk.size, inner)
    else:
        raise errors.BadImage(image=name, reason=f"its disk {disk.name!r} is in no format that is known")
    return replace(facts, offset=disk.offset)


def _has(read: Read, size: int, offset: int, mark: bytes) -> bool:
    return 0 <= offset <= size - len(mark) and read(offset, len(mark)) == mark


def _inspect_qcow2(read: Read, size: int, name: str) -> ImageFacts:
    if size < 72:
        raise errors.BadImage(image=name, reason="it is too short for a qcow2 header")
    (_, version, backing, _, bits, virtual, crypt, l1_entries, l1_offset) = struct.unpack(">4sIQIIQIIQ", read(0, 48))
    features = struct.unpack(">Q", read(72, 8))[0] if version == 3 and size >= 104 else 0
    for wrong, reason in (
        (version not in (2, 3), f"its qcow2 version is {version}, not 2 or 3"),
        (version == 3 and size < 104, "it is too short for a qcow2 header"),
        (backing, "it has a backing file"),
        (crypt, "it is encrypted"),
        (features & _DATA_FILE, "it has an external data file"),
        (features & _CORRUPT, "it is marked as corrupt"),
        (
            features & ~(_DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2),
            "it has unknown incompatible features",
        ),
        (not 9 <= bits <= 21, f"its cluster bits are {bits}, not 9 to 21"),
        (features & _EXTENDED_L2 and bits < 14, "its clusters are too small for extended L2 entries"),
    ):
        if wrong:
            raise errors.BadImage(image=name, reason=reason)
    l2_entries = (1 << bits) // (16 if features & _EXTENDED_L2 else 8)
    _check_tables(size, name, 1 << bits, l2_entries, virtual, l1_entries, l1_offset)
    return ImageFacts("qcow2", virtual, size, 1 << bits)


def _check_tables(
    size: int, name: str, cluster: int, l2_entries: int, virtual: int, l1_entries: int, l1_offset: int
) -> None:
    needed = -(-virtual // (cluster * l2_entries))
    for wrong, reason in (
        (virtual == 0, "its virtual size is 0"),
        (virtual >= 1 << 62, "its virtual size is absurd"),
        (l1_entries * 8 > _L1_MAX_BYTES, f"its L1 table has {l1_entries} entries"),
        (l1_entries < needed, "its L1 table is too small for its virtual size"),
        (
            l1_offset % cluster or l1_offset + l1_entries * 8 > size,
            "its L1 table is not within the file: is it truncated?",
        ),
    ):
        if wrong:
            raise errors.BadImage(image=name, reason=reason)
