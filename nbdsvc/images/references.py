"""Parses references of `nbdsvc copy`: an NBD export, a URL, a stream, or a path."""

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from nbdsvc import errors
from nbdsvc.datapath.native import shown_uri

NBD, HTTP, PATH, STREAM = "NBD export", "URL", "path", "stream"
_KINDS = {"nbd": NBD, "nbds": NBD, "nbd+unix": NBD, "nbds+unix": NBD, "http": HTTP, "https": HTTP}
# RFC 3986, section 3.1; a scheme has no case.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FILE = re.compile(r"file:(?://([^/]*))?(/.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """kind: NBD, HTTP, PATH or STREAM; text: the URI with its scheme in small letters, the path, or "-"."""

    kind: str
    text: str


def parse(text: str, field: str) -> Reference:
    """The parsed reference; InvalidInput, or Unsupported for an unknown scheme. `field`: SOURCE or DESTINATION."""
    if text == "-":
        return Reference(STREAM, text)
    if not text:
        raise errors.InvalidInput(field=field, value=text, reason="it is empty")
    if re.match("file:/", text, re.IGNORECASE):
        return Reference(PATH, _path_of(text, field))
    found = _SCHEME.match(text)
    if not found:
        return Reference(PATH, text)
    scheme = found[1].lower()
    if scheme not in _KINDS:
        known = ", ".join([*_KINDS, "file"])
        reason = f"{field}: the scheme {found[1]}:// is not supported, only {known}; a path like this begins with ./"
        raise errors.Unsupported(reason=reason)
    place = Reference(_KINDS[scheme], scheme + text[len(found[1]) :])
    if place.kind == NBD:
        _check_port(place.text, field)
    return place


def _check_port(uri: str, field: str) -> None:
    """libnbd takes a port modulo 65536."""
    try:
        port = urlsplit(uri).port
    except ValueError as error:
        raise errors.InvalidInput(field=field, value=shown_uri(uri), reason=f"{shown_uri(uri)}: {error}") from None
    if port == 0:
        raise errors.InvalidInput(field=field, value=shown_uri(uri), reason="there is no port 0")


def _path_of(url: str, field: str) -> str:
    """The path of a file URL (RFC 8089): on this host, and percent-decoded."""
    found = _FILE.fullmatch(url)
    if not found or (found[1] or "localhost").lower() != "localhost":
        raise errors.InvalidInput(field=field, value=url, reason="a file: URL names a path of this host: file:///path")
    if re.search("[?#]", found[2]):
        raise errors.InvalidInput(
            field=field, value=url, reason="in a file: URL, ? is written %3F and # is written %23"
        )
    path = unquote_to_bytes(found[2])
    if b"\0" in path:
        raise errors.InvalidInput(field=field, value=url, reason="a path has no byte 0")
    return os.fsdecode(path)
