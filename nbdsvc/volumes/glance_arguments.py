"""The arguments of an upload to Glance, and what of a volume becomes a property of the image."""

from dataclasses import dataclass, field

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.images.glance.record import BASE
from nbdsvc.model.entities import Volume
from nbdsvc.units import GiB
from nbdsvc.volumes.upload_request import UploadVolumeRequest

# The name of the operation's type.
KIND = "volume.upload_to_glance"
# Properties that are the volume's own, or that Glance sets or refuses.
_NO_PROPERTIES = BASE | frozenset(
    "image_id image_name signature_verified cinder_encryption_key_id cinder_encryption_key_deletion_policy "
    "location deleted deleted_at".split()
)


@dataclass(frozen=True)
class UploadToGlanceArgs:
    """Arguments of the operation `volume.upload_to_glance`."""

    volume_id: str
    image_id: str
    owner: str
    """The project whose image it is."""
    image_name: str
    disk_format: str
    visibility: str
    protected: bool
    properties: dict[str, str] = field(default_factory=dict)
    """Of the image, from the volume's image metadata."""
    in_use: bool = False
    """The volume is attached while it is copied."""


def glance_args(
    app: App, volume: Volume, image_id: str, request: UploadVolumeRequest, *, in_use: bool
) -> UploadToGlanceArgs:
    """The arguments for this volume. InvalidInput for a qcow2 that has no room while it is made."""
    room = app.settings.image_spool
    if request.disk_format == "qcow2" and room < volume.size * GiB:
        reason = f"a qcow2 of {volume.size} GiB is made on disk first, and the setting image_spool allows {room} bytes"
        raise errors.InvalidInput(field="disk_format", value="qcow2", reason=reason)
    return UploadToGlanceArgs(
        volume.id,
        image_id,
        volume.project_id,
        request.name,
        request.disk_format,
        request.visibility,
        request.protected,
        {key: value for key, value in volume.image_metadata.items() if _is_property(key)},
        in_use,
    )


def _is_property(key: str) -> bool:
    return key not in _NO_PROPERTIES and not key.startswith("os_glance_")
