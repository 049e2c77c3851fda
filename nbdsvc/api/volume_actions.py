"""POST /volumes/{id}/action."""

from typing import Annotated, Any, Literal

from fastapi import Body as Json
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from nbdsvc import errors
from nbdsvc.api import image_actions, migration_actions, steps, strict
from nbdsvc.api.actions import Action, perform, plain, schema
from nbdsvc.api.connector import AnyConnector, Connector
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Gib, Key, Text, answer
from nbdsvc.api.waiting import map_result
from nbdsvc.app import Waiting
from nbdsvc.attachments import status_actions
from nbdsvc.attachments.attach import attach_volume
from nbdsvc.attachments.detach import detach_volume, force_detach_volume
from nbdsvc.attachments.initialize_connection import initialize_connection
from nbdsvc.attachments.terminate_connection import terminate_connection
from nbdsvc.model import states
from nbdsvc.volumes.delete import delete_volume
from nbdsvc.volumes.extend import extend_volume
from nbdsvc.volumes.extend_completion import complete_extension
from nbdsvc.volumes.promote_replica import promote_replica
from nbdsvc.volumes.reenable_replication import reenable_replication
from nbdsvc.volumes.reset_status import reset_status
from nbdsvc.volumes.revert import revert_volume
from nbdsvc.volumes.unmanage import unmanage_volume
from nbdsvc.volumes.update import set_readonly, update_volume
from nbdsvc.volumes.verify import verify_volume

router = strict.router("volume actions")


class Extend(Body):
    """Extend the volume to `new_size` GiB; while attached from 3.42."""

    new_size: Gib


class Revert(Body):
    """Revert to the newest snapshot, which `snapshot_id` names."""

    model_config = ConfigDict(extra="ignore")

    snapshot_id: Key


class ExtendCompletion(Body):
    """Whether the hypervisor's part of an extension failed."""

    error: bool


class ResetStatus(Body):
    """At least one status; null is ignored."""

    status: str | None = None
    attach_status: str | None = None
    migration_status: str | None = None


class Attach(Body):
    """Record that an instance or a host has the volume at `mountpoint`."""

    instance_uuid: Text | None = None
    host_name: Text | None = None
    mountpoint: Annotated[Text, Field(min_length=1)]
    mode: Literal["rw", "ro"] = "rw"


class Detach(Body):
    """End an attachment; without an id the only one."""

    attachment_id: Text | None = None


class ForceDetach(Body):
    """End an attachment of any status; without an id the only one."""

    attachment_id: Text | None = None
    connector: AnyConnector = None


class Connect(Body):
    """Export the volume to this connector."""

    connector: Connector


class Terminate(Body):
    """Without a connector that describes an initiator, all connections end."""

    connector: AnyConnector


class Bootable(Body):
    """Mark the volume as bootable or not."""

    bootable: bool


class ReadOnly(Body):
    """Allow only read-only attachments from now on, or any."""

    readonly: bool


def _extend(request: ApiRequest, id: str, body: Extend) -> None:
    extend_volume(request.app, request.context, id, body.new_size, online=request.version >= (3, 42))


def _reset(request: ApiRequest, id: str, body: ResetStatus) -> None:
    changes = body.model_dump(exclude_none=True)
    allowed = {"status": states.VOLUME_RESET, "attach_status": states.ATTACH_STATUS_RESET}
    for field, value in changes.items():
        known = allowed.get(field, states.MIGRATION_STATUSES)
        if value not in known:
            raise errors.InvalidInput(
                field=field, value=value[:80], reason=f"must be one of {', '.join(sorted(known))}"
            )
    if not changes:
        raise errors.InvalidInput(field="os-reset_status", value=None, reason="must name a status")
    reset_status(request.app, request.context, id, changes)


def _attach(request: ApiRequest, id: str, body: Attach) -> None:
    if (body.instance_uuid is None) == (body.host_name is None):
        raise errors.InvalidInput(field="os-attach", value=None, reason="needs either instance_uuid or host_name")
    attach_volume(request.app, request.context, id, body.instance_uuid, body.host_name, body.mountpoint, body.mode)


def _detach(request: ApiRequest, id: str, body: Detach) -> Waiting[None]:
    return detach_volume(request.app, request.context, id, body.attachment_id)


def _force_detach(request: ApiRequest, id: str, body: ForceDetach) -> Waiting[None]:
    return force_detach_volume(request.app, request.context, id, body.attachment_id, body.connector)


def _initialize(request: ApiRequest, id: str, body: Connect) -> Waiting[Response]:
    return map_result(initialize_connection(request.app, request.context, id, body.connector), _show_connection)


def _show_connection(info: dict[str, Any]) -> Response:
    kind = info.pop("driver_volume_type")
    return answer({"connection_info": {"driver_volume_type": kind, "data": info}})


def _terminate(request: ApiRequest, id: str, body: Terminate) -> Waiting[None]:
    return terminate_connection(request.app, request.context, id, body.connector)


def _revert(request: ApiRequest, id: str, body: Revert) -> None:
    revert_volume(request.app, request.context, id, body.snapshot_id)


def _complete_extension(request: ApiRequest, id: str, _body: ExtendCompletion) -> None:
    complete_extension(request.app, request.context, id)


def _force_delete(request: ApiRequest, id: str, _body: Any) -> None:
    delete_volume(request.app, request.context, id, force=True)


def _set_bootable(request: ApiRequest, id: str, body: Bootable) -> None:
    update_volume(request.app, request.context, id, bootable=body.bootable)


def _set_readonly(request: ApiRequest, id: str, body: ReadOnly) -> None:
    set_readonly(request.app, request.context, id, readonly=body.readonly)


class Verify(Body):
    """Ours, not Cinder's: compare with the digests made when the volume was filled, or record new ones."""

    record: bool = False


def _verify(request: ApiRequest, id: str, body: Verify) -> None:
    verify_volume(request.app, request.context, id, record=body.record)


ACTIONS = {
    **migration_actions.ACTIONS,
    **image_actions.ACTIONS,
    "nbdsvc-verify": Action(_verify, Verify),
    "os-extend": Action(_extend, Extend),
    "revert": Action(_revert, Revert, since=(3, 40)),
    "os-extend_volume_completion": Action(_complete_extension, ExtendCompletion, since=steps.EXTEND_COMPLETION),
    "os-reset_status": Action(_reset, ResetStatus),
    "os-reserve": Action(plain(status_actions.reserve_volume)),
    "os-unreserve": Action(plain(status_actions.unreserve_volume)),
    "os-begin_detaching": Action(plain(status_actions.begin_detaching)),
    "os-roll_detaching": Action(plain(status_actions.roll_detaching)),
    "os-attach": Action(_attach, Attach),
    "os-detach": Action(_detach, Detach),
    "os-force_detach": Action(_force_detach, ForceDetach),
    "os-initialize_connection": Action(_initialize, Connect),
    "os-terminate_connection": Action(_terminate, Terminate),
    "os-force_delete": Action(_force_delete),
    "os-unmanage": Action(plain(unmanage_volume)),
    "os-promote-replica": Action(plain(promote_replica)),
    "os-reenable-replication": Action(plain(reenable_replication)),
    "os-set_bootable": Action(_set_bootable, Bootable, ok=200),
    "os-update_readonly_flag": Action(_set_readonly, ReadOnly),
}


@router.post("/volumes/{id}/action", status_code=202, openapi_extra=schema(ACTIONS))
async def act(request: CurrentRequest, id: str, body: Annotated[Any, Json()]) -> Response:
    """Run one action on a volume; the key of the body names it. docs/api.md lists them.

    Errors: 400 badRequest (action, its fields, status of the volume, or a backend that cannot do it); 403 forbidden (an
    action for administrators); 404 itemNotFound (volume, snapshot, image or attachment, or a version below the action's); 409
    conflictingRequest (an operation works on the volume, or was cancelled); 413 overLimit (quota); 503
    serviceUnavailable (an export failed or took longer than attach_timeout).
    """
    return await perform(ACTIONS, request, id, body)
