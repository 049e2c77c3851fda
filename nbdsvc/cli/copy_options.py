"""Checks the options of `nbdsvc copy` against its source and destination: an option without effect is refused."""

import stat
from typing import Any

from nbdsvc import errors
from nbdsvc.copytool import incoming, streams
from nbdsvc.copytool.endpoints import OpenSource
from nbdsvc.images import references
from nbdsvc.images.references import Reference

FILE, DEVICE, EXPORT, STREAM = "a file", "a block device", "an NBD export", "a stream"
_AS_IT_IS = "is written as it is, and not replaced"
_IN_ORDER = "a stream takes raw bytes, in order and once"
# (option, destination): the reason why the two exclude each other.
_DESTINATIONS = {
    ("--format", DEVICE): "a block device is written as it is: raw",
    ("--format", EXPORT): "an NBD export is written as it is: raw",
    ("--format", STREAM): _IN_ORDER,
    ("--compress", STREAM): _IN_ORDER,
    ("--verify", STREAM): _IN_ORDER,
    ("--journal", STREAM): _IN_ORDER,
    ("--force", STREAM): _IN_ORDER,
    ("--destination-is-zero", STREAM): _IN_ORDER,
    ("--force", DEVICE): f"a block device {_AS_IT_IS}",
    ("--force", EXPORT): f"an NBD export {_AS_IT_IS}",
    ("--destination-is-zero", FILE): "a new file is made empty anyway",
}
# (option, source): the same.
_SOURCES = {
    ("--checksum", references.NBD): "an NBD export has no file to check",
    ("--journal", references.STREAM): "a source whose bytes come once cannot be gone on with",
}
# (option, format of the destination): the same.
_FORMATS = {
    ("--compress", "raw"): "only qcow2 can be compressed",
    ("--journal", "qcow2"): "a qcow2 image is whole or begins anew: only raw bytes can be gone on with",
}


def format_of(place: Reference, given: str | None) -> str:
    """The format of the destination: the given one, else qcow2 for a path that ends in .qcow2, else raw."""
    return given or ("qcow2" if place.kind == references.PATH and place.text.endswith(".qcow2") else "raw")


def check(source: Reference, place: Reference, options: dict[str, Any]) -> None:
    """InvalidInput with the first option that does not go with them."""
    if source == place and source.kind == references.NBD:
        raise errors.Conflict(reason="the destination is the source itself")
    given = _given(options)
    kind, format = _kind_of(place), options["format"]
    once = source.kind in (references.PATH, references.STREAM) and incoming.is_incoming(source.text)
    comes = references.STREAM if once else source.kind
    for option, value in given.items():
        reason = _DESTINATIONS.get((option, kind)) or _SOURCES.get((option, comes)) or _FORMATS.get((option, format))
        if reason:
            raise errors.InvalidInput(field=option, value=value, reason=reason)


def check_opened(opened: OpenSource, options: dict[str, Any]) -> None:
    """Check the options that depend on the opened source. InvalidInput names the option."""
    if options["journal"] is not None and opened.source.sequential:
        reason = "the source can only be read from its beginning, so nothing can be gone on with"
        raise errors.InvalidInput(field="--journal", value=str(options["journal"]), reason=reason)
    if options["checksum"] is not None and opened.read is None:
        reason = "the source has no file that can be read once more for it"
        raise errors.InvalidInput(field="--checksum", value=options["checksum"].digest, reason=reason)


def _given(options: dict[str, Any]) -> dict[str, str]:
    """option: value, of those that ask for more than a plain copy does."""
    found = {f"--{name}": options[name] for name in ("verify", "force") if options[name]}
    found |= {f"--{name}": options[name] for name in ("journal", "checksum") if options[name] is not None}
    found |= {"--destination-is-zero": True} if options["destination_is_zero"] else {}
    found |= {"--format": options["format"]} if options["format"] != "raw" else {}
    found |= {"--compress": options["compress"]} if options["compress"] != "none" else {}
    return {option: str(value) for option, value in found.items()}


def _kind_of(place: Reference) -> str:
    if place.kind == references.NBD:
        return EXPORT
    if streams.is_stream(place.text):
        return STREAM
    return DEVICE if stat.S_ISBLK(streams.mode_of(place.text)) else FILE
