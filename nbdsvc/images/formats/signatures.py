"""Signatures of files that are no disk which nbdsvc reads: archives, compressed files, documents, other disk formats.

A file is raw when it is declared raw, or when nothing here explains its bytes. Random bytes are a disk too, so a
signature of two or three bytes is believed only together with more of its header: by chance, less than one disk of
random bytes in a million is taken for something else. File systems, partition tables, ISO 9660 and LUKS are what disks
hold, and are not here.

Sources: the formats' own documents (RFC 1952, RFC 8878, the xz file format, APPNOTE.TXT, POSIX pax), and file(1)'s magic.
"""

import codecs
import re
from collections.abc import Callable

Read = Callable[[int, int], bytes]
# Enough for every header below, and for telling a text from a disk that begins with some words.
HEAD = 4096
# Compressed files that images/unpacking.py reads through.
STREAMS = ("gzip", "bzip2", "xz", "zstd")

# (name, offset, signature): long enough to be believed alone.
_MARKS: tuple[tuple[str, int, bytes], ...] = (
    ("xz", 0, b"\xfd7zXZ\0"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("lz4", 0, b"\x04\x22\x4d\x18"),
    ("lz4", 0, b"\x02\x21\x4c\x18"),
    ("lzip", 0, b"LZIP\x01"),
    ("lzop", 0, b"\x89LZO\0\r\n\x1a\n"),
    ("zip archive", 0, b"PK\x05\x06"),
    ("7z archive", 0, b"7z\xbc\xaf\x27\x1c"),
    ("RAR archive", 0, b"Rar!\x1a\x07"),
    ("cabinet archive", 0, b"MSCF\0\0\0\0"),
    ("xar archive", 0, b"xar!\0\x1c"),
    ("ar archive or Debian package", 0, b"!<arch>\n"),
    ("RPM package", 0, b"\xed\xab\xee\xdb"),
    ("tar archive", 257, b"ustar"),
    ("PDF document", 0, b"%PDF-"),
    ("PNG picture", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF picture", 0, b"GIF87a"),
    ("GIF picture", 0, b"GIF89a"),
    ("SQLite database", 0, b"SQLite format 3\0"),
    ("journal of nbdsvc copy", 0, b"NBDSVCJ"),
    ("QED", 0, b"QED\0"),
    ("Parallels disk", 0, b"WithoutFreeSpace"),
    ("Parallels disk", 0, b"WithouFreSpacExt"),
    ("User Mode Linux cow", 0, b"OOOM\0\0\0"),
    ("Bochs disk", 0, b"Bochs Virtual HD Image"),
    ("cloop", 0, b"#!/bin/sh\n#V2.0 Format\n"),
    ("ESX sparse VMDK", 0, b"COWD\x01\0\0\0"),
    ("SESparse VMDK", 0, b"\xbe\xba\xfe\xca\0\0\0\0"),
    ("Windows image (WIM)", 0, b"MSWIM\0\0\0"),
    ("AFF", 0, b"AFF10\r\n\0"),
    ("AFF", 0, b"AFF\0"),
    ("EnCase image (EWF)", 0, b"EVF\x09\r\n\xff\0"),
    ("EnCase image (EWF)", 0, b"EVF2\r\n\x81\0"),
    ("EnCase image (EWF)", 0, b"LVF\x09\r\n\xff\0"),
    ("Android sparse image", 0, b"\x3a\xff\x26\xed\x01\0"),
    ("Android boot image", 0, b"ANDROID!"),
    ("partclone image", 0, b"partclone-image"),
    ("partimage image", 0, b"PaRtImAgE-VoLuMe"),
    ("ntfsclone image", 0, b"\0ntfsclone-image"),
    ("CHD", 0, b"MComprHD"),
    ("CISO", 0, b"CISO\x18\0\0\0"),
    ("raw sectors of a CD", 0, b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"),
)
# Behind the data, counted from the end.
_TAILS: tuple[tuple[str, int, bytes], ...] = (
    ("Apple disk image (dmg)", 512, b"koly\0\0\0\x04\0\0\x02\0"),
    ("Nero image", 12, b"NER5"),
)
# Short signatures with what follows them in every sound file.
_PATTERNS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        # Method 8, no reserved flag, an operating system that RFC 1952 knows.
        ("gzip", rb"\x1f\x8b\x08[\x00-\x1f].{5}[\x00-\x0d\xff]"),
        ("bzip2", rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)"),
        ("zstd", rb"[\x50-\x5f]\x2a\x4d\x18"),
        # Properties of every encoder in use, a dictionary of a power of two, a size that is unknown or below 256 TiB.
        ("lzma", rb"\x5d\0\0.{2}(?:\xff{8}|.{6}\0\0)\0"),
        ("compress (.Z)", rb"\x1f\x9d[\x8c-\x90].[\x00\x02\x04\x06\x08\x0a\x0c\x0e]"),
        ("zip archive", rb"PK\x03\x04[\x0a-\x3f]\0.{2}[\0\x01\x08\x09\x0c\x0e\x5d\x5f\x62\x63]\0"),
        ("cpio archive", rb"07070[12][0-9A-Fa-f]{24}"),
        ("cpio archive", rb"070707[0-7]{24}"),
        ("ELF program", rb"\x7fELF[\x01\x02][\x01\x02]\x01"),
        ("JPEG picture", rb"\xff\xd8\xff[\xe0-\xef\xdb]\0.(?:JFIF|Exif|.\0)"),
        ("text", rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|!--)(?i:[\s>\-a-z])"),
        ("text", rb"(?:\xef\xbb\xbf)?\s*<(?:!DOCTYPE|HTML|HEAD|BODY|\?XML)(?i:[\s>a-z])"),
    )
)


def recognise(read: Read, size: int) -> str | None:
    """The name of what the bytes are: one of STREAMS, or something that is refused. None: nothing that is known."""
    head = read(0, min(size, HEAD))
    for name, at, mark in _MARKS:
        if head[at : at + len(mark)] == mark:
            return name
    for name, pattern in _PATTERNS:
        if pattern.match(head):
            return name
    for name, before, mark in _TAILS:
        if size >= before and read(size - before, len(mark)) == mark:
            return name
    return next((name for name, judge in _JUDGES if judge(head)), None)


def _is_old_tar(head: bytes) -> bool:
    """A header without the ustar mark, as of Unix version 7: its name is text and its sum is right."""
    try:
        expected = int(head[148:156].strip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    return len(head) >= 512 and head[0] > 0x20 and sum(head[:148]) + 8 * ord(" ") + sum(head[156:512]) == expected


def _is_program(head: bytes) -> bool:
    """A program for Windows or EFI; a boot sector that begins with the same two letters has no second header."""
    at = int.from_bytes(head[0x3C:0x40], "little")
    return head[:2] == b"MZ" and head[at : at + 4] == b"PE\0\0"


def _is_text(head: bytes) -> bool:
    """A whole head of more than one printable character, in UTF-8, or in UTF-16 with its mark.

    A disk that begins with words has zeros or binary numbers before HEAD ends; one byte repeated is a test's pattern.
    """
    name = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)  # the head may end within a character
    except UnicodeDecodeError:
        return False
    printable = all(letter.isprintable() or letter in "\t\n\r\f\x1b" for letter in text)
    return printable and len(set(text)) > 1


_JUDGES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("tar archive", _is_old_tar),
    ("Windows or EFI program", _is_program),
    ("text", _is_text),
)
