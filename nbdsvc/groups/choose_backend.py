"""Chooses the backend of a new group: one that has what the group's type demands, and a pool for each volume type."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.model.entities import VolumeType
from nbdsvc.model.groups import GroupType
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.decide import decide, judge
from nbdsvc.store import qos_specs


def choose_backend(
    app: App, conn: sa.Connection, zone: str, group_type: GroupType, volume_types: Sequence[VolumeType]
) -> Candidate:
    """A pool of the best backend. NoValidBackend where none has everything; its reason names what the pools lack."""
    pools = placement.candidates(app, conn)
    wanted = [Request(0, zone, group_type.group_specs), *(_request(conn, zone, each) for each in volume_types)]
    for request in wanted:
        pools = _of_backends(pools, _able(request, pools))
        if not pools:
            lacking = decide(request, placement.candidates(app, conn), {})
            reason = "; ".join(map(str, lacking.refused)) or "no backend has a pool for each of the volume types"
            raise errors.NoValidBackend(backend="any", reason=reason[:1500])
    return decide(Request(0, zone), pools, app.settings.scheduler_weights).best


def _request(conn: sa.Connection, zone: str, volume_type: VolumeType) -> Request:
    specs = qos_specs.demands(conn, volume_type)
    return Request(0, zone, volume_type.extra_specs, volume_type.multiattach, **specs)


def _able(request: Request, pools: Iterable[Candidate]) -> set[str]:
    return {each.backend_name for each in pools if judge(request, each) is None}


def _of_backends(pools: Iterable[Candidate], backends: set[str]) -> list[Candidate]:
    return [each for each in pools if each.backend_name in backends]
