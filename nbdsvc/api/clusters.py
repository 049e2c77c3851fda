"""/clusters (3.7): backends of one name on several hosts that are one storage."""

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from nbdsvc import errors
from nbdsvc.api import strict, views
from nbdsvc.api.microversions import Version
from nbdsvc.api.request import ApiRequest, Body, CurrentRequest, Key, LongText, Text, answer
from nbdsvc.backends.clusters import ClusterReport, disable_cluster, enable_cluster, get_cluster, list_clusters
from nbdsvc.model.values import boolean, whole_number

router = strict.router("clusters")

_SINCE, _REPLICATION_SINCE = (3, 7), (3, 26)
_FLAGS, _NUMBERS, _TEXTS = ("is_up", "disabled", "frozen"), ("num_hosts", "num_down_hosts"), ("name", "binary")
_REPLICATION = ("replication_status", "frozen", "active_backend_id")


class EnableBody(Body):
    """A cluster: cluster@backend."""

    name: Key
    binary: Text | None = None


class DisableBody(EnableBody):
    """A cluster, and why it is disabled."""

    disabled_reason: LongText | None = None


@router.get("/clusters")
def listing(request: CurrentRequest) -> JSONResponse:
    """List the clusters, one for each backend of a cluster of hosts. Filters: name, binary, is_up, disabled, num_hosts,
    num_down_hosts; from 3.26 replication_status, frozen, active_backend_id. For administrators, from 3.7.

    Errors: 400 badRequest (a filter); 403 forbidden (the caller is no administrator).
    """
    return answer({"clusters": [summary(each) for each in _found(request)]})


@router.get("/clusters/detail")
def details(request: CurrentRequest) -> JSONResponse:
    """The same, with the number of hosts, those that are down, the newest report, and from 3.26 replication and freeze.

    Errors: 400 badRequest (a filter); 403 forbidden (the caller is no administrator).
    """
    return answer({"clusters": [view(each, request.version) for each in _found(request)]})


@router.get("/clusters/{cluster_name}")
def show(request: CurrentRequest, cluster_name: str) -> JSONResponse:
    """Show a cluster by its name, cluster@backend. For administrators, from 3.7.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (cluster).
    """
    request.require(_SINCE)
    found = get_cluster(request.app, cluster_name, request.query.get("binary"))
    return answer({"cluster": view(found, request.version)})


@router.put("/clusters/enable")
def enable(request: CurrentRequest, body: EnableBody) -> JSONResponse:
    """Let the hosts of a cluster take new volumes again. For administrators, from 3.7.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (cluster).
    """
    request.require(_SINCE)
    return _changed(enable_cluster(request.app, body.name, body.binary or None))


@router.put("/clusters/disable")
def disable(request: CurrentRequest, body: DisableBody) -> JSONResponse:
    """Place no new volumes on any host of a cluster, and record why. For administrators, from 3.7.

    Errors: 403 forbidden (the caller is no administrator); 404 itemNotFound (cluster).
    """
    request.require(_SINCE)
    reason = (body.disabled_reason or "").strip() or None
    return _changed(disable_cluster(request.app, body.name, body.binary or None, reason))


def _found(request: ApiRequest) -> list[ClusterReport]:
    request.require(_SINCE)
    wanted = _filters(request)
    return list_clusters(request.app, lambda each: wanted.items() <= _values(each).items())


def _filters(request: ApiRequest) -> Mapping[str, Any]:
    more = _REPLICATION if request.version >= _REPLICATION_SINCE else ()
    known = {"is_up", "disabled", *_NUMBERS, *_TEXTS, *more}
    if unknown := sorted(set(request.query) - known):
        reason = f"clusters have no such filter, but {', '.join(sorted(known))}"
        raise errors.InvalidInput(field=unknown[0][:80], value=None, reason=reason)
    return {key: _filter(key, value) for key, value in request.query.items()}


def _filter(key: str, value: str) -> Any:
    if key in _FLAGS:
        return boolean(key, value)
    return whole_number(key, value) if key in _NUMBERS else value


def _values(found: ClusterReport) -> Mapping[str, Any]:
    """By which it is found."""
    return {
        "name": found.row.name,
        "binary": found.row.binary,
        "is_up": found.is_up,
        "disabled": found.row.disabled,
        "num_hosts": len(found.members),
        "num_down_hosts": found.down,
        "replication_status": found.replication_status,
        "frozen": found.frozen,
        "active_backend_id": None,
    }


def _changed(found: ClusterReport) -> JSONResponse:
    return answer({"cluster": {**summary(found), "disabled_reason": found.row.disabled_reason}})


def summary(found: ClusterReport) -> dict[str, Any]:
    """A cluster as the short list shows it."""
    return {
        "name": found.row.name,
        "binary": found.row.binary,
        "state": "up" if found.is_up else "down",
        "status": "disabled" if found.row.disabled else "enabled",
    }


def view(found: ClusterReport, version: Version) -> dict[str, Any]:
    """All of a cluster."""
    shown = summary(found) | {
        "num_hosts": len(found.members),
        "num_down_hosts": found.down,
        "last_heartbeat": views.stamp(found.last_heartbeat),
        "created_at": views.stamp(found.row.created_at),
        "updated_at": views.stamp(found.row.updated_at),
        "disabled_reason": found.row.disabled_reason,
    }
    replication = {key: value for key, value in _values(found).items() if key in _REPLICATION}
    return shown | (replication if version >= _REPLICATION_SINCE else {})
