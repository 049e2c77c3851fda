"""The digest of an image's file, to be compared with its catalogue's, made on a thread of its own while the image is copied.

The catalogue is SHA512SUMS or SHA256SUMS beside the image, as coreutils and BSD write them, or a digest that a user
gives. An image that is not in it is not checked; one that differs is refused when the copy is done.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nbdsvc import errors
from nbdsvc.units import MiB

if TYPE_CHECKING:
    import hashlib

Read = Callable[[int, int], bytes]
# The stronger algorithm first. Distributions publish both; weaker ones are not accepted.
_CATALOGUES = {"SHA512SUMS": "sha512", "SHA256SUMS": "sha256"}
_DIGITS = {"sha256": 64, "sha512": 128}
_CATALOGUE_MAX = 16 * MiB
_PIECE = MiB
_TICK_SECONDS = 0.05
# "HEX  name" and "HEX *name" of coreutils; "SHA256 (name) = HEX" of BSD.
_LINE = re.compile(r"^(?:(?P<hex>[0-9a-fA-F]+) [ *](?P<name>.+)|SHA\d+ \((?P<bsd>.+)\) = (?P<digest>[0-9a-fA-F]+))$")


@dataclass(frozen=True)
class Checksum:
    """algorithm: sha256 or sha512, of Glance also others; digest: hexadecimal, in small letters."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> "Checksum":
        """A checksum from "sha256:HEX" or "sha512:HEX". ValueError names the fault."""
        algorithm, _, digest = text.strip().lower().partition(":")
        if algorithm not in _DIGITS or not re.fullmatch(f"[0-9a-f]{{{_DIGITS.get(algorithm, 0)}}}", digest):
            raise ValueError("must be sha256: and 64, or sha512: and 128 hexadecimal digits")
        return cls(algorithm, digest)

    def begin(self) -> "hashlib._Hash":
        """A digest of no bytes yet."""
        import hashlib  # imported here: it loads OpenSSL, which most copies do not need

        return hashlib.new(self.algorithm, usedforsecurity=False)


def beside(path: Path) -> Checksum | None:
    """The checksum of the file in the catalogue of its folder; None without one. BadImage for a malformed line."""
    for name, algorithm in _CATALOGUES.items():
        catalogue = path.parent / name
        if not catalogue.is_file() or catalogue.stat().st_size > _CATALOGUE_MAX:
            continue
        for line in catalogue.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if found and (found["name"] or found["bsd"]) in (path.name, f"./{path.name}"):
                return _checked(path.name, name, f"{algorithm}:{found['hex'] or found['digest']}")
    return None


def _checked(image: str, catalogue: str, text: str) -> Checksum:
    try:
        return Checksum.parse(text)
    except ValueError as error:
        raise errors.BadImage(image=image, reason=f"its digest in {catalogue} {error}") from None


class Checking(Protocol):
    """Makes sure that an image's bytes are those of its catalogue, from its `with` block on until `finish`."""

    def __enter__(self) -> Any:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End what runs."""

    def finish(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Return when they are, or when `should_stop` says so. ChecksumMismatch, or the read's error."""


class Check:
    """Begins with its `with` block; `finish` tells how it ended. Without a wanted checksum it does nothing."""

    def __init__(self, wanted: Checksum | None, read: Read, size: int, name: str) -> None:
        self._wanted, self._read, self._size, self._name = wanted, read, size, name
        self._stop = threading.Event()
        self._found = ""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="checksum")

    def __enter__(self) -> "Check":
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def finish(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Return when the digest is the wanted one, or when `should_stop` says so. ChecksumMismatch, or the read's error."""
        while self._wanted and self._thread.is_alive():
            self._thread.join(_TICK_SECONDS)
            if should_stop():
                return
        if self._failure:
            raise self._failure
        if self._wanted and self._found != self._wanted.digest:
            raise errors.ChecksumMismatch(source=self._name, expected=self._wanted.digest, actual=self._found)

    def _run(self) -> None:
        assert self._wanted
        digest, at = self._wanted.begin(), 0
        try:
            while at < self._size and not self._stop.is_set():
                piece = self._read(at, min(_PIECE, self._size - at))
                if not piece:
                    raise errors.ReadFailed(source=self._name, offset=at, reason="it is shorter than it was")
                digest.update(piece)
                at += len(piece)
        except OSError as error:
            reason = error.strerror or str(error)
            self._failure = errors.ReadFailed(source=self._name, offset=at, reason=reason)
        except BaseException as error:
            self._failure = error
        self._found = digest.hexdigest()
