"""Where images come from, and what reading them may take."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Images:
    """Where images come from, and what reading them may take."""

    # Images that are named by id or by file name; empty: state_dir/images.
    images: str = ""
    # Folders whose files may be named by path in imageRef.
    image_paths: tuple[str, ...] = ()
    # Whether imageRef may be an http(s) URL.
    image_http: bool = True
    # Networks and host names to which such URLs may lead besides public addresses: "10.0.0.0/8,images.example".
    # Loopback,
    # link-local and private addresses, and this host's own, are refused unless they are listed. The proxies of the
    # environment (https_proxy, http_proxy, no_proxy) are used; where one is, it decides what can be reached.
    image_http_networks: tuple[str, ...] = ()
    # Certificates (PEM) to trust for https in place of the system's.
    image_ca_file: Path | None = None
    # Seconds for which a server may send nothing, and the least bytes a second that it has to send; 0: no minimum.
    image_http_silence: float = 30.0
    image_http_least_rate: int = 1024
    # The most bytes that all images together may take in state_dir/spool while volumes are made of them. Only images
    # that cannot be read in place are spooled: a compressed file of a qcow2, or a qcow2 of a web server without range
    # requests. 0: such images are refused. A compressed raw image needs no spool.
    image_spool: int = 0
    # The image cache: how many GiB of volumes each pool may have that are clones of the first volume of an image, and
    # how many such volumes. Further volumes of the image are cloned of them. Of backends that clone at once; 0 GiB: no
    # image is cached.
    image_cache_gigabytes: int = 0
    image_cache_count: int = 100

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.image_cache_gigabytes < 0, "image_cache_gigabytes", "must not be negative")
        yield Check(self.image_cache_count < 1, "image_cache_count", "must be at least 1")
