"""A volume as an image of the host's folder (os-volume_upload_image): what is checked before anything is written."""

from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.images.folder import check_limits
from nbdsvc.manager.app import App, operation, owner_scope
from nbdsvc.manager.locking import locks
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.store import nouns
from nbdsvc.units import GiB


@dataclass(frozen=True)
class UploadImage:
    """An image to be made of a volume. visibility: as os-volume_upload_image has it; public: by an administrator only."""

    name: str
    disk_format: str = "raw"
    visibility: str = "private"
    protected: bool = False
    force: bool = False


def upload(app: App, context: Context, id: str, wanted: UploadImage) -> tuple[Volume, str]:
    """Admit a copy of the volume as an image of the local folder. Returns the volume and the image's id (row S032).

    QuotaExceeded where the project's images would be too many, or too large.
    """
    if wanted.disk_format not in ("raw", "qcow2"):
        raise errors.InvalidInput(field="disk_format", value=wanted.disk_format, reason="must be raw or qcow2")
    if wanted.visibility == "public" and not context.is_admin:
        raise errors.Forbidden(reason="Only an administrator may make a public image.")
    force = wanted.force
    rule = states.VOLUME["force upload to image" if force else "upload to image"]
    with app.change() as conn:
        volume = nouns.volumes.get(conn, id, owner_scope(context))
        previous = volume.status
        volume = nouns.volumes.transition(
            conn, id, rule.sources, "uploading", action="upload", previous_status=previous
        )
        image_id, limits = names.new_id(), (app.settings.quota_images, app.settings.quota_image_bytes)
        if app.images:
            check_limits(limits, app.images.folder.usage(volume.project_id), volume.size * GiB)
        made = {"image_name": wanted.name, "disk_format": wanted.disk_format, "visibility": wanted.visibility}
        args = {"volume_id": id, "image_id": image_id, **made, "protected": wanted.protected, "limits": limits}
        held = locks("volume.upload in use" if previous == "in-use" else "volume.upload", volume=id)
        app.operations.admit(conn, operation(app, context, "volume.upload", volume.host, ("volume", id), held, args))
    return volume, image_id
