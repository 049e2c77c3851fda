"""Where bytes are: a file or block device of this host, or an NBD or RBD address. Drivers tell it; exporters and the
data path open it.

    Driver.location(volume) --> Location --> datapath/source.open, datapath/sink.open, ExportSpec

A location is kept in notes and specs on disk, which others than this service read, so it never holds a secret: it names
the file that does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from nbdsvc import errors

Scheme = Literal["file", "block", "nbd", "rbd"]

# The schemes of a path on this host; the others are addresses of a server or cluster.
LOCAL: tuple[Scheme, ...] = ("file", "block")

# The names that the options of each scheme may have; every value is the path of a file on this host, or a name.
#   tls_psk_file  of `user:key` lines (gnutls, psktool), for nbds:// addresses
#   conf, keyring of the Ceph cluster and of its user; user: without the `client.`
OPTIONS: Mapping[str, frozenset[str]] = {
    "file": frozenset(),
    "block": frozenset(),
    "nbd": frozenset({"tls_psk_file"}),
    "rbd": frozenset({"conf", "keyring", "user"}),
}

_NBD_SCHEMES = ("nbd", "nbds", "nbd+unix", "nbds+unix")


@dataclass(frozen=True)
class Location:
    """Where the bytes of a volume or snapshot are, as this host reaches them.

    scheme: `file` and `block` are absolute paths of this host, `nbd` is a URI of the NBD specification (doc/uri.md),
    `rbd` is `pool/image` or `pool/image@snapshot`. options: as OPTIONS allows. ValueError for anything else, and for an
    address that holds a password.
    """

    scheme: Scheme
    address: str
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if reason := _reject_reason(self.scheme, self.address, self.options):
            raise ValueError(f"location {self.scheme}: {reason}")

    def __str__(self) -> str:
        return self.address

    @classmethod
    def file(cls, path: Path) -> "Location":
        """A regular file of this host."""
        return cls("file", str(path))

    @classmethod
    def block(cls, path: Path) -> "Location":
        """A block device of this host."""
        return cls("block", str(path))

    @property
    def path(self) -> Path:
        """The path on this host. Unsupported for a location that has none."""
        if self.scheme not in LOCAL:
            raise errors.Unsupported(reason=f"{self.address} is no path of this host")
        return Path(self.address)

    def to_json(self) -> dict[str, Any]:
        """The JSON object that notes and specs keep."""
        return {"scheme": self.scheme, "address": self.address, "options": dict(self.options)}

    @classmethod
    def from_json(cls, noted: Mapping[str, Any]) -> "Location":
        """The reverse of to_json. KeyError or ValueError for what is no location."""
        return cls(noted["scheme"], noted["address"], dict(noted.get("options", {})))


def _reject_reason(scheme: str, address: str, options: Mapping[str, str]) -> str | None:
    if scheme not in OPTIONS:
        return f"the scheme must be one of {', '.join(OPTIONS)}"
    if unknown := sorted(set(options) - OPTIONS[scheme]):
        return f"it has no option {', '.join(unknown)}"
    if scheme in LOCAL:
        return None if Path(address).is_absolute() else f"{address} is no absolute path"
    if scheme == "rbd":
        return None if address.count("/") == 1 and all(address.split("/")) else f"{address} is not POOL/IMAGE"
    return _reject_uri(address, options)


def _reject_uri(address: str, options: Mapping[str, str]) -> str | None:
    try:
        parts = urlsplit(address)
        password = parts.password
    except ValueError:
        return "its address is no URI"
    if parts.scheme not in _NBD_SCHEMES:
        return f"the URI must begin with {', '.join(_NBD_SCHEMES)}"
    if password is not None:
        return "its address holds a password, which belongs into a file"
    # libnbd would ignore the key, and send all bytes in plain text.
    keyed, is_tls = "tls_psk_file" in options, parts.scheme.startswith("nbds")
    return "a pre-shared key needs nbds:// or nbds+unix://" if keyed and not is_tls else None
