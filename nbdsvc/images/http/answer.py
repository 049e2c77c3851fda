"""Judges what a server answered, without I/O: a 2xx answer is the requested file only if all its parts say so.

Source: RFC 9110 (15: status codes; 14: range requests; 8: representation data).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

# Statuses after which the same request may succeed later.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
# Statuses that a signed URL has when its time is over, or its object moved: the first URL may name a new one.
EXPIRED = frozenset({400, 401, 403, 404, 410})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What a server sends instead of a disk: pages of errors, of logins and of gateways. text/plain is what some servers call
# every file that they do not know.
_NO_DISK = re.compile(r"(text/(html|xml|css|javascript)|application/(xhtml\+xml|xml|json|problem\+json)|multipart/.*)")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
# Larger than any disk (2^60 bytes, an EiB): a number beyond it is a server's fault and would overflow ours.
SIZE_MAX = 1 << 60


class Outcome(Enum):
    """BODY: read it. REDIRECT: to `location`. AGAIN: try later. EXPIRED: use the first URL again. WRONG: permanent."""

    BODY = auto()
    REDIRECT = auto()
    AGAIN = auto()
    EXPIRED = auto()
    WRONG = auto()


@dataclass(frozen=True)
class Verdict:
    """length: of the body in bytes, None where only the framing tells; total: of the whole file, where it is known."""

    outcome: Outcome
    reason: str = ""
    location: str = ""
    length: int | None = None
    total: int | None = None
    ranges: bool = False


def named_small(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in small letters; one that comes twice is one with both values, which is no number or range."""
    return {name.lower(): headers[name] for name in headers}


def judge(status: int, headers: Mapping[str, str], wanted: tuple[int, int] | None) -> Verdict:
    """The verdict on an answer. wanted: first and last byte, None: the whole file; headers: names in small letters."""
    if status in REDIRECTS:
        return Verdict(Outcome.REDIRECT, location=headers.get("location", ""))
    if status in (200, 206):
        return _body(status, headers, wanted)
    empty = status == 416 and re.fullmatch(r"bytes \*/0+", headers.get("content-range", ""))
    outcome = Outcome.AGAIN if status in TRANSIENT else Outcome.EXPIRED if status in EXPIRED else Outcome.WRONG
    return Verdict(outcome, "the file is empty" if empty else f"the server answered {status} {_phrase(status)}".strip())


def _phrase(status: int) -> str:
    """The standard's reason phrase: a server's own may be long, or reveal what a project must not see."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""


def _body(status: int, headers: Mapping[str, str], wanted: tuple[int, int] | None) -> Verdict:
    if wrong := _wrong_representation(headers):
        return Verdict(Outcome.WRONG, wrong)
    return _part(headers, wanted) if status == 206 else _whole(headers)


def _wrong_representation(headers: Mapping[str, str]) -> str:
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        return f"the server sends it encoded as {encoding[:40]!r}, which was not requested"
    coding = headers.get("transfer-encoding", "").strip().lower()
    if coding not in ("", "chunked"):  # RFC 9112, 6.1: chunks may have another coding in them
        return f"the server sends it in the transfer coding {coding[:40]!r}, which was not requested"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _NO_DISK.fullmatch(kind):
        return f"the server sends {kind}, which is no disk"
    return ""


def _part(headers: Mapping[str, str], wanted: tuple[int, int] | None) -> Verdict:
    if wanted is None:
        return Verdict(Outcome.WRONG, "the server sent a part where the whole file was requested")
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if not found:
        return Verdict(Outcome.WRONG, "the server does not say which bytes it sends, or of how many")
    first, last, total = (int(number) for number in found.groups())
    if not 0 < total <= SIZE_MAX:
        return Verdict(Outcome.WRONG, f"the server says that the file has {total} bytes")
    if (first, last) != (wanted[0], min(wanted[1], total - 1)):
        return Verdict(Outcome.WRONG, f"the server sent bytes {first} to {last}, not {wanted[0]} to {wanted[1]}")
    length, declared = last - first + 1, _length(headers)
    if declared not in (None, length):
        return Verdict(Outcome.WRONG, f"the server announces {declared} bytes for a range of {length}")
    return Verdict(Outcome.BODY, length=length, total=total, ranges=True)


def _whole(headers: Mapping[str, str]) -> Verdict:
    length = _length(headers)
    if length == 0:
        return Verdict(Outcome.WRONG, "the file is empty")
    if length is not None and not 0 < length <= SIZE_MAX:
        return Verdict(Outcome.WRONG, f"the server says that the file has {headers['content-length'][:40]} bytes")
    if length is None and "chunked" not in headers.get("transfer-encoding", "").lower():
        return Verdict(
            Outcome.WRONG, "the server does not say how long the file is, so its end looks like a broken connection"
        )
    return Verdict(Outcome.BODY, length=length, total=length)


def _length(headers: Mapping[str, str]) -> int | None:
    """Content-Length; None without one, or where chunks say it; -1 for what is none."""
    text = headers.get("content-length", "").strip()
    if not text or "chunked" in headers.get("transfer-encoding", "").lower():
        return None
    return int(text) if re.fullmatch(r"\d{1,19}", text) else -1


def pin_of(headers: Mapping[str, str]) -> str:
    """The ETag, else Last-Modified, which change with the content. A weak ETag does not promise the same bytes: not used."""
    tag = headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("last-modified", "")


def has_pin(headers: Mapping[str, str], pin: str) -> bool:
    """Whether an answer is of the version that `pin_of` returned; "" matches every answer."""
    return not pin or pin in (headers.get("etag"), headers.get("last-modified"))
