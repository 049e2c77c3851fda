"""POST /volumes/{id}/action."""

from typing import Annotated, Any, Literal

from fastapi import Body as Json
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from nbdsvc import errors, metadata
from nbdsvc.api import strict, views
from nbdsvc.api.actions import Action, perform, plain, schema
from nbdsvc.api.connector import AnyConnector, Connector
from nbdsvc.api.request import Ask, Asked, Body, Gib, Key, Metadata, Text, answer
from nbdsvc.api.waiting import then
from nbdsvc.app import Waiting
from nbdsvc.attachments import status_actions
from nbdsvc.attachments.attach import attach_volume
from nbdsvc.attachments.detach import detach_volume, force_detach_volume
from nbdsvc.attachments.initialize_connection import initialize_connection
from nbdsvc.attachments.terminate_connection import terminate_connection
from nbdsvc.model import states
from nbdsvc.types.queries import type_of_volume
from nbdsvc.volumes.delete import delete_volume
from nbdsvc.volumes.extend import extend_volume
from nbdsvc.volumes.reset_status import reset_status
from nbdsvc.volumes.revert import revert_volume
from nbdsvc.volumes.unmanage import unmanage_volume
from nbdsvc.volumes.update import set_readonly, update_volume
from nbdsvc.volumes.upload import UploadVolumeRequest, upload_volume
from nbdsvc.volumes.verify import verify_volume

router = strict.router("volume actions")


class Extend(Body):
    new_size: Gib


class Revert(Body):
    model_config = ConfigDict(extra="ignore")

    snapshot_id: Key


class ResetStatus(Body):
    """At least one of them; null says nothing."""

    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


class Attach(Body):
    instance_uuid: Text | None = None
    host_name: Text | None = None
    mountpoint: Annotated[Text, Field(min_length=1)]
    mode: Literal["rw", "ro"] = "rw"


class Detach(Body):
    attachment_id: Text | None = None


class ForceDetach(Body):
    attachment_id: Text | None = None
    connector: AnyConnector = None


class Connect(Body):
    connector: Connector


class Terminate(Body):
    """Without a connector that describes an initiator: every one of them."""

    connector: AnyConnector


class Upload(Body):
    image_name: Annotated[Text, Field(min_length=1)]
    force: bool = False
    disk_format: str = "raw"
    container_format: Literal["bare"] = "bare"
    visibility: Literal["community", "public", "private", "shared"] | None = None
    protected: bool | None = None


class Bootable(Body):
    bootable: bool


class ReadOnly(Body):
    readonly: bool


class SetImageMetadata(Body):
    metadata: Metadata


class UnsetImageMetadata(Body):
    key: Key


def _extend(asked: Asked, id: str, wish: Extend) -> None:
    extend_volume(asked.app, asked.context, id, wish.new_size, online=asked.version >= (3, 42))


def _reset(asked: Asked, id: str, wish: ResetStatus) -> None:
    changes = wish.model_dump(exclude_none=True)
    allowed = {"status": states.VOLUME_RESET, "attach_status": states.ATTACH_STATUS_RESET}
    for field, value in changes.items():
        known = allowed.get(field, states.MIGRATION_STATUSES)
        if value not in known:
            raise errors.InvalidInput(
                field=field, value=value[:80], reason=f"must be one of {', '.join(sorted(known))}"
            )
    if not changes:
        raise errors.InvalidInput(field="os-reset_status", value=None, reason="must name a status")
    reset_status(asked.app, asked.context, id, changes)


def _attach(asked: Asked, id: str, wish: Attach) -> None:
    if (wish.instance_uuid is None) == (wish.host_name is None):
        raise errors.InvalidInput(field="os-attach", value=None, reason="needs either instance_uuid or host_name")
    attach_volume(asked.app, asked.context, id, wish.instance_uuid, wish.host_name, wish.mountpoint, wish.mode)


def _detach(asked: Asked, id: str, wish: Detach) -> Waiting[None]:
    return detach_volume(asked.app, asked.context, id, wish.attachment_id)


def _force_detach(asked: Asked, id: str, wish: ForceDetach) -> Waiting[None]:
    return force_detach_volume(asked.app, asked.context, id, wish.attachment_id, wish.connector)


def _initialize(asked: Asked, id: str, wish: Connect) -> Waiting[Response]:
    return then(initialize_connection(asked.app, asked.context, id, wish.connector), _show_connection)


def _show_connection(info: dict[str, Any]) -> Response:
    kind = info.pop("driver_volume_type")
    return answer({"connection_info": {"driver_volume_type": kind, "data": info}})


def _terminate(asked: Asked, id: str, wish: Terminate) -> Waiting[None]:
    return terminate_connection(asked.app, asked.context, id, wish.connector)


def _upload(asked: Asked, id: str, wish: Upload) -> Response:
    wanted = UploadVolumeRequest(
        wish.image_name, wish.disk_format, wish.visibility or "private", bool(wish.protected), wish.force
    )
    volume, image_id = upload_volume(asked.app, asked.context, id, wanted)
    shown = {
        "id": volume.id,
        "updated_at": views.stamp(volume.updated_at),
        "status": volume.status,
        "display_description": volume.description,
        "size": volume.size,
        "volume_type": views.uploaded_type(type_of_volume(asked.app, volume.volume_type_id), asked.context),
        "image_id": image_id,
        "container_format": "bare",
        "disk_format": wish.disk_format,
        "image_name": wish.image_name,
    }
    if asked.version >= (3, 1):
        shown |= {"visibility": wish.visibility or "private", "protected": bool(wish.protected)}
    return answer({"os-volume_upload_image": shown}, 202)


def _image_metadata(asked: Asked, id: str, changes: dict[str, str | None]) -> dict[str, str]:
    return metadata.VOLUME_IMAGE.edit(asked.app, asked.context, id, changes)


def _revert(asked: Asked, id: str, wish: Revert) -> None:
    revert_volume(asked.app, asked.context, id, wish.snapshot_id)


def _force_delete(asked: Asked, id: str, _wish: Any) -> None:
    delete_volume(asked.app, asked.context, id, force=True)


def _set_bootable(asked: Asked, id: str, wish: Bootable) -> None:
    update_volume(asked.app, asked.context, id, bootable=wish.bootable)


def _set_readonly(asked: Asked, id: str, wish: ReadOnly) -> None:
    set_readonly(asked.app, asked.context, id, readonly=wish.readonly)


def _show_image_metadata(asked: Asked, id: str, _wish: Any) -> Response:
    return answer({"metadata": _image_metadata(asked, id, {})})


def _set_image_metadata(asked: Asked, id: str, wish: SetImageMetadata) -> Response:
    return answer({"metadata": _image_metadata(asked, id, dict(wish.metadata))})


def _unset_image_metadata(asked: Asked, id: str, wish: UnsetImageMetadata) -> None:
    _image_metadata(asked, id, {wish.key: None})


class Verify(Body):
    """Ours: compare with the digests that were made when it was filled, or record new ones."""

    record: bool = False


def _verify(asked: Asked, id: str, wish: Verify) -> None:
    verify_volume(asked.app, asked.context, id, record=wish.record)


ACTIONS = {
    "nbdsvc-verify": Action(_verify, Verify),
    "os-extend": Action(_extend, Extend),
    "revert": Action(_revert, Revert, since=(3, 40)),
    "os-reset_status": Action(_reset, ResetStatus, admin=True),
    "os-reserve": Action(plain(status_actions.reserve_volume)),
    "os-unreserve": Action(plain(status_actions.unreserve_volume)),
    "os-begin_detaching": Action(plain(status_actions.begin_detaching)),
    "os-roll_detaching": Action(plain(status_actions.roll_detaching)),
    "os-attach": Action(_attach, Attach),
    "os-detach": Action(_detach, Detach),
    "os-force_detach": Action(_force_detach, ForceDetach, admin=True),
    "os-initialize_connection": Action(_initialize, Connect),
    "os-terminate_connection": Action(_terminate, Terminate),
    "os-volume_upload_image": Action(_upload, Upload),
    "os-force_delete": Action(_force_delete, admin=True),
    "os-unmanage": Action(plain(unmanage_volume), admin=True),
    "os-set_bootable": Action(_set_bootable, Bootable, ok=200),
    "os-update_readonly_flag": Action(_set_readonly, ReadOnly),
    "os-set_image_metadata": Action(_set_image_metadata, SetImageMetadata),
    "os-unset_image_metadata": Action(_unset_image_metadata, UnsetImageMetadata, ok=200),
    "os-show_image_metadata": Action(_show_image_metadata),
}


@router.post("/volumes/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(asked: Ask, id: str, body: Annotated[Any, Json()]) -> Response:
    """One action on a volume: the key of the body names it."""
    return await perform(ACTIONS, asked, id, body)
