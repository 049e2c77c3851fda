"""The protocol of backends that make a volume of an image by themselves (S090)."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from nbdsvc.driver.refs import VolumeRef
from nbdsvc.driver.state import ProviderState


@runtime_checkable
class CloneImageDriver(Protocol):
    """A driver that may reach an image where it is, and clone it. Without the protocol the service copies the image."""

    def clone_image(
        self, volume: VolumeRef, image_location: str, image_id: str | None, image_meta: Mapping[str, Any], owner: str
    ) -> tuple[ProviderState | None, bool]:
        """Make the volume of the image's bytes, with zeros behind them up to `volume.size` bytes, which are enough.

        Called only where the fact `clones_images` is set, and not for an image that is named by a URL of a web server.

        image_location: a URL of the image's file, without credentials; image_id: None for an image that a path
        names. image_meta: `disk_format` (what the file's content is), `image_name`, `size` (of the file, in bytes, as
        text), `virtual_size` (bytes of the disk) and `container_format`. The service has judged the image's content, and
        that the project may use it; a checksum that the image's catalogue has is not compared with what the driver clones.

        Returns (state, True) when it has made the volume, and (None, False), with nothing made, for an image that it
        does not clone: the service then makes the volume by its cache or by a copy.
        """
