"""/manageable_volumes and /manageable_snapshots, from microversion 3.8; before it os-volume-manage, os-snapshot-manage.

Only an administrator sees what lies in a pool. Lists are sorted and paged here, because the pool and not the database has
them; a marker is the `reference` of the last one, as its name or as JSON.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import Field

from nbdsvc import errors
from nbdsvc.api import paging, strict, views
from nbdsvc.api.microversions import MINIMUM
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, Metadata, Text, answer
from nbdsvc.api.volumes import show_volumes
from nbdsvc.api.waiting import wait_for_result
from nbdsvc.backends.list_manageable import Noun, list_manageable
from nbdsvc.snapshots.manage import ManageSnapshotRequest
from nbdsvc.snapshots.manage import manage_snapshot as start_manage_snapshot
from nbdsvc.units import to_gib
from nbdsvc.volumes.manage import ManageVolumeRequest, manage_volume

router = strict.router("manageable")

_SINCE, _CLUSTER_SINCE = (3, 8), (3, 17)
_SORTABLE = ("size", "reference")
Reference = Annotated[dict[Key, Key], Field(min_length=1, max_length=8)]


class ExistingVolume(Body):
    """An object of the pool `host`, or from 3.17 of a cluster's pool `cluster`, that becomes a volume; `ref` names it as the
    list does.
    """

    host: Key | None = None
    cluster: Key | None = None
    ref: Reference
    name: Text | None = None
    description: LongText | None = None
    volume_type: Text | None = None
    availability_zone: Text | None = None
    metadata: Metadata | None = None
    bootable: bool = False


class VolumeBody(Body):
    """The body of managing a volume."""

    volume: ExistingVolume


class ExistingSnapshot(Body):
    """An object of a volume's pool that becomes its snapshot; `ref` names it as the list does."""

    volume_id: Key
    ref: Reference
    name: Text | None = None
    description: LongText | None = None
    metadata: Metadata | None = None


class SnapshotBody(Body):
    """The body of managing a snapshot."""

    snapshot: ExistingSnapshot


@router.post("/os-volume-manage", status_code=202)
@router.post("/manageable_volumes", status_code=202)
def manage(request: CurrentRequest, body: VolumeBody) -> JSONResponse:
    """Manage an existing object of a pool as a volume. For administrators. os-volume-manage serves every version,
    manageable_volumes from 3.8.

    Errors: 400 badRequest (pool, zone, type or reference, or a driver that manages nothing); 403 forbidden (the caller is
    no administrator); 404 itemNotFound (type, or a version below 3.8); 413 overLimit (quota); 503 serviceUnavailable
    (the pool's service is down or disabled).
    """
    _check_allowed(request)
    wanted = body.volume
    host, in_cluster = _place(request, wanted.model_dump(include={"host", "cluster"}, exclude_unset=True), "volume.")
    existing = ManageVolumeRequest(
        host=host,
        in_cluster=in_cluster,
        ref=wanted.ref,
        name=wanted.name,
        description=wanted.description,
        volume_type=wanted.volume_type or None,
        availability_zone=wanted.availability_zone or None,
        bootable=wanted.bootable,
        metadata=wanted.metadata or {},
    )
    made = manage_volume(request.app, request.context, existing)
    return answer({"volume": show_volumes(request, [made], version=MINIMUM)[0]}, 202)


@router.post("/os-snapshot-manage", status_code=202)
@router.post("/manageable_snapshots", status_code=202)
def manage_snapshot(request: CurrentRequest, body: SnapshotBody) -> JSONResponse:
    """Manage an existing object of a pool as a snapshot. For administrators. os-snapshot-manage serves every version,
    manageable_snapshots from 3.8.

    Errors: 400 badRequest (reference, the volume's status, or a driver that manages nothing); 403 forbidden (the caller
    is no administrator); 404 itemNotFound (volume, or a version below 3.8); 413 overLimit (quota).
    """
    _check_allowed(request)
    wanted = body.snapshot
    existing = ManageSnapshotRequest(
        wanted.volume_id, wanted.ref, wanted.name, wanted.description, wanted.metadata or {}
    )
    made = start_manage_snapshot(request.app, request.context, existing)
    return answer({"snapshot": views.snapshot_summary(made)}, 202)


@router.get("/os-volume-manage")
@router.get("/manageable_volumes")
async def listing(request: CurrentRequest) -> JSONResponse:
    """List the objects of `host`, a pool or a backend (from 3.17 or of `cluster`), and whether each may be managed as a
    volume. For administrators.

    Errors: 400 badRequest (host, sort, limit or marker, or a driver that manages nothing); 403 forbidden (the caller is
    no administrator); 404 itemNotFound (a version below 3.8); 503 serviceUnavailable (the pool's service is
    down, disabled or slow).
    """
    return await _list(request, "volume", detail=False)


@router.get("/os-volume-manage/detail")
@router.get("/manageable_volumes/detail")
async def detail(request: CurrentRequest) -> JSONResponse:
    """List the same in detail: why an object may not be managed, and the id of one that is managed. For administrators.

    Errors: 400 badRequest (host, sort, limit or marker, or a driver that manages nothing); 403 forbidden (the caller is
    no administrator); 404 itemNotFound (a version below 3.8); 503 serviceUnavailable (the pool's service is
    down, disabled or slow).
    """
    return await _list(request, "volume", detail=True)


@router.get("/os-snapshot-manage")
@router.get("/manageable_snapshots")
async def snapshots(request: CurrentRequest) -> JSONResponse:
    """List the objects of `host`, a pool or a backend (from 3.17 or of `cluster`), and whether each may be managed as a
    snapshot. For administrators.

    Errors: 400 badRequest (host, sort, limit or marker, or a driver that manages nothing); 403 forbidden (the caller is
    no administrator); 404 itemNotFound (a version below 3.8); 503 serviceUnavailable (the pool's service is
    down, disabled or slow).
    """
    return await _list(request, "snapshot", detail=False)


@router.get("/os-snapshot-manage/detail")
@router.get("/manageable_snapshots/detail")
async def snapshots_detail(request: CurrentRequest) -> JSONResponse:
    """List the same in detail: why an object may not be managed, and the id of one that is managed. For administrators.

    Errors: 400 badRequest (host, sort, limit or marker, or a driver that manages nothing); 403 forbidden (the caller is
    no administrator); 404 itemNotFound (a version below 3.8); 503 serviceUnavailable (the pool's service is
    down, disabled or slow).
    """
    return await _list(request, "snapshot", detail=True)


def _check_allowed(request: ApiRequest) -> None:
    if "/manageable_" in request.http.url.path:
        request.require(_SINCE)


def _place(request: ApiRequest, given: Mapping[str, str | None], prefix: str = "") -> tuple[str, bool]:
    """The name of the pool, and whether it is that of a cluster, which from 3.17 takes the place of `host`."""
    if request.version < _CLUSTER_SINCE and prefix and "cluster" in given:
        raise errors.InvalidInput(field=f"{prefix}cluster", value=None, reason="there is no such field below 3.17")
    host, cluster = given.get("host"), given.get("cluster") if request.version >= _CLUSTER_SINCE else None
    if host and cluster:
        raise errors.InvalidInput(
            field=f"{prefix}cluster", value=cluster[:80], reason="name a host or a cluster, not both"
        )
    if not (host or cluster):
        raise errors.InvalidInput(field=f"{prefix}host", value=None, reason="must name the pool: host@backend#pool")
    return str(host or cluster), bool(cluster)


async def _list(request: ApiRequest, noun: Noun, *, detail: bool) -> JSONResponse:
    _check_allowed(request)
    wanted = paging.page(request, _SORTABLE, "reference:desc", last=None)
    app, (host, in_cluster) = request.app, _place(request, request.query)
    found = await wait_for_result(app, lambda: list_manageable(app, request.context, host, noun, in_cluster=in_cluster))
    for key, descending in reversed(wanted.sort):
        found.sort(key=lambda each: _value(each, key), reverse=descending)
    if wanted.marker is not None:
        found = found[_position(found, wanted.marker) + 1 :]
    rows = found[wanted.offset :][: wanted.limit]
    return answer({f"manageable-{noun}s": [_view(each, noun, detail=detail) for each in rows]})


def _value(each: dict[str, Any], key: str) -> Any:
    return sorted(each["reference"].items()) if key == "reference" else each["size"]


def _position(found: list[dict[str, Any]], marker: str) -> int:
    try:
        reference = json.loads(marker.replace("'", '"'))
    except (ValueError, RecursionError):
        reference = marker
    for index, each in enumerate(found):
        if reference == each["reference"] or reference in (each["id"], *each["reference"].values()):
            return index
    raise errors.InvalidInput(field="marker", value=marker[:80], reason="nothing in the pool has this reference")


def _view(each: dict[str, Any], noun: str, *, detail: bool) -> dict[str, Any]:
    shown = {"reference": each["reference"], "size": to_gib(each["size"]), "safe_to_manage": not each["reason"]}
    if noun == "snapshot":
        shown["source_reference"] = each["source"] or {}
    if detail:
        extra = {"pool": each["pool"]} if each["pool"] else None
        shown |= {"reason_not_safe": each["reason"] or None, "cinder_id": each["id"], "extra_info": extra}
    return shown
