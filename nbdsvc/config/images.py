"""Where images come from, and what reading them may take."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Images:
    """Where images come from, and what reading them may take."""

    # Images that are named by id or by file name; empty: state_dir/images.
    images: str = ""
    # Folders whose files may be named by path in imageRef.
    image_paths: tuple[str, ...] = ()
    # Whether imageRef may be an http(s) URL.
    image_http: bool = True
    # Where such URLs may lead besides public addresses: networks and host names, "10.0.0.0/8,images.example". Loopback,
    # link-local and private addresses, and this host's own, are refused unless they are listed. The proxies of the
    # environment (https_proxy, http_proxy, no_proxy) are used; where one is, it decides what can be reached.
    image_http_networks: tuple[str, ...] = ()
    # Certificates (PEM) to trust for https in place of the system's.
    image_ca_file: Path | None = None
    # Seconds for which a server may say nothing, and bytes a second below which it is given up; 0: no least.
    image_http_silence: float = 30.0
    image_http_least_rate: int = 1024
    # Bytes that images may take in state_dir/spool while volumes are made of them, all together, for those that cannot be
    # read where they are: a compressed qcow2, or one of a web server without ranges. 0: they are refused. A compressed raw
    # image needs none of it.
    image_spool: int = 0
