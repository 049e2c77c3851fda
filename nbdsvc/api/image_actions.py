"""Actions of volumes that concern images: make one of a volume, write one over it, and what is known of the volume's own."""

from typing import Any, Literal
from uuid import UUID

from fastapi.responses import Response

from nbdsvc import metadata
from nbdsvc.api import steps, views
from nbdsvc.api.actions import Action
from nbdsvc.api.request import ApiRequest, Body, ImageName, Key, Metadata, answer
from nbdsvc.types.queries import type_of_volume
from nbdsvc.volumes.reimage import reimage_volume
from nbdsvc.volumes.upload import upload_volume
from nbdsvc.volumes.upload_request import UploadVolumeRequest


class Upload(Body):
    """Make an image of the volume; with `force` also while it is in use."""

    image_name: ImageName
    force: bool = False
    disk_format: str = "raw"
    container_format: Literal["bare"] = "bare"
    visibility: Literal["community", "public", "private", "shared"] | None = None
    protected: bool | None = None


class SetImageMetadata(Body):
    """Pairs of image metadata to set."""

    metadata: Metadata


class UnsetImageMetadata(Body):
    """The key of image metadata to remove."""

    key: Key


class Reimage(Body):
    """Write this image over the volume; with `reimage_reserved` also while it is reserved."""

    image_id: UUID
    reimage_reserved: bool = False


def _upload(request: ApiRequest, id: str, body: Upload) -> Response:
    wanted = UploadVolumeRequest(
        body.image_name, body.disk_format, body.visibility or "private", bool(body.protected), body.force
    )
    volume, image_id = upload_volume(request.app, request.context, id, wanted)
    shown = {
        "id": volume.id,
        "updated_at": views.stamp(volume.updated_at),
        "status": volume.status,
        "display_description": volume.description,
        "size": volume.size,
        "volume_type": views.uploaded_type(type_of_volume(request.app, volume.volume_type_id), request.context),
        "image_id": image_id,
        "container_format": "bare",
        "disk_format": body.disk_format,
        "image_name": body.image_name,
    }
    if request.version >= (3, 1):
        shown |= {"visibility": body.visibility or "private", "protected": bool(body.protected)}
    return answer({"os-volume_upload_image": shown}, 202)


def _image_metadata(request: ApiRequest, id: str, changes: dict[str, str | None]) -> dict[str, str]:
    return metadata.VOLUME_IMAGE.edit(request.app, request.context, id, changes)


def _show_image_metadata(request: ApiRequest, id: str, _body: Any) -> Response:
    return answer({"metadata": _image_metadata(request, id, {})})


def _set_image_metadata(request: ApiRequest, id: str, body: SetImageMetadata) -> Response:
    return answer({"metadata": _image_metadata(request, id, dict(body.metadata))})


def _unset_image_metadata(request: ApiRequest, id: str, body: UnsetImageMetadata) -> None:
    _image_metadata(request, id, {body.key: None})


def _reimage(request: ApiRequest, id: str, body: Reimage) -> None:
    reimage_volume(request.app, request.context, id, str(body.image_id), reserved=body.reimage_reserved)


ACTIONS = {
    "os-volume_upload_image": Action(_upload, Upload),
    "os-set_image_metadata": Action(_set_image_metadata, SetImageMetadata),
    "os-unset_image_metadata": Action(_unset_image_metadata, UnsetImageMetadata, ok=200),
    "os-show_image_metadata": Action(_show_image_metadata),
    "os-reimage": Action(_reimage, Reimage, since=steps.REIMAGE),
}
