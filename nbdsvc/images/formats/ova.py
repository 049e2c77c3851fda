"""Finds a disk in an OVA: a tar with an OVF descriptor, which says what are disks, wherever both stand in it.

The manifest's checksums are not verified: that would read the appliance twice. A checksum beside the whole file is.
"""

from collections.abc import Callable

from nbdsvc import errors
from nbdsvc.images.formats import ovf, tar
from nbdsvc.images.formats.tar import Member

Read = Callable[[int, int], bytes]
_GZIP = b"\x1f\x8b"


def is_ova(read: Read, size: int) -> bool:
    """Whether the file is a tar with an OVF descriptor; any other tar is none."""
    if not tar.is_tar(read, size):
        return False
    try:
        return any(_is_descriptor(member) for member in tar.members(read, size, ""))
    except errors.BadImage:
        return False


def find_disk(read: Read, size: int, name: str, wanted: str | None = None) -> Member:
    """The disk in an OVA, or BadImage. `wanted`: the name of its file, or its id in the descriptor; else there is one."""
    files: dict[str, Member] = {}
    for member in tar.members(read, size, name):
        if member.name in files:
            raise errors.BadImage(image=name, reason=f"it holds {member.name!r} twice")
        files[member.name] = member
    disk = _choose(ovf.disks(_descriptor(read, files, name), name), name, wanted)
    found = files.get(disk.file)
    head = read(found.offset, min(2, found.size)) if found else b""
    for wrong, reason in (
        (disk.refusal, disk.refusal),
        (found is None, "is not in it"),
        (found and found.is_sparse, "is stored as a sparse member of GNU tar: make the OVA without --sparse"),
        (head == _GZIP, "is compressed with gzip: unpack it first"),
    ):
        if wrong:
            raise errors.BadImage(image=name, reason=f"its disk {disk.file!r} {reason}")
    assert found
    return found


def _descriptor(read: Read, files: dict[str, Member], name: str) -> bytes:
    found = [member for member in files.values() if _is_descriptor(member)]
    if len(found) != 1:
        raise errors.BadImage(image=name, reason=f"it holds {len(found)} descriptors, not one")
    if found[0].size > ovf.LENGTH_MAX or found[0].is_sparse:
        raise errors.BadImage(image=name, reason="its descriptor is too long, or sparse")
    return read(found[0].offset, found[0].size)


def _choose(disks: list[ovf.Disk], name: str, wanted: str | None) -> ovf.Disk:
    chosen = [disk for disk in disks if wanted in (None, disk.file, disk.id)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(repr(disk.file) for disk in disks[:20]) or "none"
    if wanted is not None:
        raise errors.BadImage(image=name, reason=f"it holds no disk {wanted!r}, only {names}")
    choose = ": choose one by IMAGE#DISK" if disks else ""
    raise errors.BadImage(image=name, reason=f"it holds {len(disks)} disks, not one: {names}{choose}")


def _is_descriptor(member: Member) -> bool:
    return member.name.lower().endswith(".ovf")
