"""The pool that an existing volume is to be moved to: one that a client names, or the best one for another type."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.model import names
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.decide import Refusal, decide, judge
from nbdsvc.scheduler.filters import CAPABILITIES, QOS
from nbdsvc.store import clusters, qos_specs, repositories
from nbdsvc.units import GiB

# Of a backend's report: whether its host takes volumes of other hosts, and gives its own away. An older version has neither.
RECEIVES, SENDS = "receives_volumes", "sends_volumes"
# As SENDS, of volumes in use.
IN_USE = "moves_volumes_in_use"


def named_destination(app: App, conn: sa.Connection, volume: Volume, host: str) -> str:
    """`host@backend#pool` for what a client wrote: all of it; host@backend or host where that has one pool only; or the
    name of a cluster's pool, as get_pools shows it.

    InvalidInput where there is no such pool or several are meant, where the volume is there already, and where the pool
    cannot take it: full, down, disabled, frozen, of another zone, not what its type demands, or of a host that takes no
    volumes of others.
    """
    candidates = placement.candidates(app, conn)
    if names.split_host(host)[0] in {each.cluster for each in candidates if each.cluster}:
        return destination_in_cluster(app, conn, volume, host)
    found = _named(candidates, host)
    if found.full_name == volume.full_host:
        raise _refused(host, "the volume is in this pool already")
    request = _request(conn, volume, _type_of(conn, volume))
    if clusters.is_same_storage(conn, found.full_name, volume.full_host):
        return _in_place(found, host, request)
    found = replace(found, out_of_reach=_out_of_reach(conn, _reported(conn), volume, found))
    if refusal := judge(request, found):
        raise _refused(host, str(refusal))
    if not placement.reserve(app, conn, found.full_name, volume.size * GiB, found.pool):
        raise _refused(host, f"{found.full_name} has become full")
    return found.full_name


def _in_place(found: Candidate, host: str, request: Request) -> str:
    """The volume has its room there already."""
    if refusal := judge(replace(request, size=0), found):
        raise _refused(host, str(refusal))
    return found.full_name


def destination_in_cluster(app: App, conn: sa.Connection, volume: Volume, cluster: str) -> str:
    """The best host for the volume in a pool of a cluster: cluster@backend#pool, or a part of it with one pool only.

    InvalidInput where there is no such pool or several are meant, where the volume is in it already, and where no host of
    the cluster can take it.
    """
    wanted, backend, pool = names.split_host(cluster)
    found = [
        each
        for each in placement.candidates(app, conn)
        if wanted and each.cluster == wanted and backend in ("", each.backend) and pool in ("", each.pool.name)
    ]
    pools = sorted({names.join_host(wanted, each.backend, each.pool.name) for each in found})
    if len(pools) != 1:
        what = f"it has several pools: name one of {', '.join(pools)}" if pools else "no cluster has this name and pool"
        raise errors.InvalidInput(field="cluster", value=cluster[:80], reason=what)
    if any(clusters.is_same_storage(conn, each.full_name, volume.full_host) for each in found):
        reason = "the volume is in this pool already; name a host, to have it served by another one"
        raise errors.InvalidInput(field="cluster", value=cluster[:80], reason=reason)
    reported, request = _reported(conn), _request(conn, volume, _type_of(conn, volume))
    judged = [replace(each, out_of_reach=_out_of_reach(conn, reported, volume, each)) for each in found]
    return placement.choose_among(app, conn, request, lambda: judged)


def peer_of(app: App, conn: sa.Connection, volume: Volume) -> str | None:
    """The best other host that sees the volume's storage and takes volumes; None where there is none."""
    request = replace(_request(conn, volume, _type_of(conn, volume)), size=0)
    peers = [
        each
        for each in placement.candidates(app, conn)
        if each.host != volume.host and clusters.is_same_storage(conn, each.full_name, volume.full_host)
    ]
    able = [each for each in peers if judge(request, each) is None]
    return decide(request, able, app.settings.scheduler_weights).best.full_name if able else None


def chosen_destination(app: App, conn: sa.Connection, volume: Volume, away_from: str = "") -> str:
    """The best pool for the volume as it is, but its own and those of host `away_from`. In use, it is one of its host where
    one there can take it: its client does not notice then. Errors as destination_for_type.
    """
    request = _request(conn, volume, _type_of(conn, volume))

    def pools() -> list[Candidate]:
        others = _others(app, conn, volume, away_from)
        return (volume.status == "in-use" and _able_here(request, volume, others)) or others

    return placement.choose_among(app, conn, request, pools)


def _able_here(request: Request, volume: Volume, others: list[Candidate]) -> list[Candidate]:
    return [each for each in others if each.host == volume.host and judge(request, each) is None]


def _type_of(conn: sa.Connection, volume: Volume) -> VolumeType | None:
    return repositories.volume_types.find(conn, volume.volume_type_id) if volume.volume_type_id else None


def _reported(conn: sa.Connection) -> dict[str, Mapping[str, Any]]:
    """What each `host@backend` last reported of itself."""
    return {row.full_name: row.capabilities for row in repositories.backends.select(conn)}


def _out_of_reach(
    conn: sa.Connection, reported: Mapping[str, Mapping[str, Any]], volume: Volume, found: Candidate
) -> str:
    """Why no volume can be moved from its host to that one; empty where one can."""
    if found.host == volume.host:
        return ""
    if volume.status == "in-use" and (reason := bound_to_host(conn, volume)):
        return f"it is another host than {volume.host}, and {reason}"
    here = reported.get(names.join_host(volume.host, volume.backend), {})
    there = reported.get(names.join_host(found.host, found.backend), {})
    if not here.get(SENDS):
        return f"host {volume.host}, where it is, is down, or of a version that moves no volumes to other hosts"
    if not there.get(RECEIVES):
        reason = "it exports nothing over the network (nbd_listen), or is down, or of a version that cannot"
        return f"host {found.host} takes no volumes of other hosts: {reason}"
    if volume.status == "in-use" and not (here.get(IN_USE) and there.get(IN_USE)):
        return f"the volume is in use, and host {volume.host} or {found.host} is of a version that cannot move it"
    return ""


def bound_to_host(conn: sa.Connection, volume: Volume) -> str:
    """Why the clients of a volume in use cannot follow it to another host; empty where they can."""
    infos = [each.connection_info or {} for each in repositories.attachments_of(conn, volume.id) if each.exported]
    if any(each.get("unix_socket") for each in infos):
        return "its client uses the unix socket of its host, and could not follow it; detach it first"
    return ""


def _named(candidates: Sequence[Candidate], host: str) -> Candidate:
    parts = names.split_host(host)
    found = [each for each in candidates if _is_named(each, *parts)]
    if not found or not parts[0]:
        raise _refused(host, "no pool has this name: host@backend#pool")
    if len(found) > 1:
        raise _refused(host, f"it has several pools: name one of {', '.join(each.full_name for each in found)}")
    return found[0]


def _is_named(candidate: Candidate, host: str, backend: str, pool: str) -> bool:
    """Any pool of a backend that reports none, because it is down: the filter says so then."""
    is_pool = pool in ("", candidate.pool.name) or not candidate.pool.name
    return host in ("", candidate.host) and backend in ("", candidate.backend) and is_pool


def _refused(host: str, reason: str) -> errors.InvalidInput:
    return errors.InvalidInput(field="host", value=host[:80], reason=reason)


def retype_refusal(app: App, conn: sa.Connection, volume: Volume, wanted: VolumeType) -> Refusal | None:
    """What keeps the volume from having this type where it is; None where nothing does, or its pool is not reported now."""
    there = [each for each in placement.candidates(app, conn) if each.full_name == volume.full_host]
    refusals = (judge(_request(conn, volume, wanted), each, (CAPABILITIES, QOS)) for each in there)
    return next((refusal for refusal in refusals if refusal), None)


def destination_for_type(app: App, conn: sa.Connection, volume: Volume, wanted: VolumeType) -> str:
    """The best pool but its own for the volume with this type: of its host where one can take it, because that is less to do.

    NoValidBackend where none can take it, NoRoom where one could if it had the room; both say why of each.
    """
    request = _request(conn, volume, wanted)

    def pools() -> list[Candidate]:
        others = _others(app, conn, volume)
        return _able_here(request, volume, others) or others

    return placement.choose_among(app, conn, request, pools)


def _others(app: App, conn: sa.Connection, volume: Volume, away_from: str = "") -> list[Candidate]:
    """Every other pool, but those where the volume is, also where it cannot get to it: a refusal says so."""
    reported = _reported(conn)
    return [
        replace(each, out_of_reach=_out_of_reach(conn, reported, volume, each))
        for each in placement.candidates(app, conn)
        if not clusters.is_same_storage(conn, each.full_name, volume.full_host) and each.host != (away_from or None)
    ]


def _request(conn: sa.Connection, volume: Volume, wanted: VolumeType | None) -> Request:
    specs = wanted.extra_specs if wanted else {}
    multiattach = wanted.multiattach if wanted else volume.multiattach
    return Request(
        volume.size * GiB,
        volume.availability_zone,
        specs,
        multiattach,
        seed=volume.id,
        **qos_specs.demands(conn, wanted),
    )
