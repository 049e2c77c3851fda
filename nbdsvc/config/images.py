"""Where images come from, and what reading them may take."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check

GLANCE = "glance"


@dataclass(frozen=True)
class Images:
    """Where images come from, and what reading them may take."""

    # Where images are that are named by id: folder (the setting images), or glance.
    image_service: str = "folder"
    # TOML, with the service user's auth_url, username, password, and where they are others than these: project_name =
    # "service", user_domain_id = "default", project_domain_id = "default", region = "" (of the catalogue; empty: any),
    # interface = "public". The user needs the role that Glance takes for an administrator, and the role service. Only its
    # owner may read it.
    glance_user_file: Path | None = None
    # Glance's URL; empty: the endpoint of the type image in Keystone's catalogue.
    glance_endpoint: str = ""
    # Folders of Glance's file store that this host sees too: an image whose location is in one is read there, and not
    # over the network.
    glance_folders: tuple[str, ...] = ()
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
    # requests. 0: such images are refused. A compressed raw image needs no spool. An upload to Glance of a volume of at
    # most this size may be a qcow2, which is made in state_dir/journals.
    image_spool: int = 0
    # The image cache: how many GiB of volumes each pool may have that are clones of the first volume of an image, and
    # how many such volumes. Further volumes of the image are cloned of them. Of backends that clone at once; 0 GiB: no
    # image is cached.
    image_cache_gigabytes: int = 0
    image_cache_count: int = 100

    @property
    def has_glance(self) -> bool:
        return self.image_service == GLANCE

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.image_service not in ("folder", GLANCE), "image_service", "must be folder or glance")
        yield Check(
            self.has_glance and self.glance_user_file is None, "glance_user_file", "image_service = glance needs it"
        )
        url = self.glance_endpoint
        yield Check(url and not url.startswith(("http://", "https://")), "glance_endpoint", "must be an http(s) URL")
        yield Check(self.image_cache_gigabytes < 0, "image_cache_gigabytes", "must not be negative")
        yield Check(self.image_cache_count < 1, "image_cache_count", "must be at least 1")
