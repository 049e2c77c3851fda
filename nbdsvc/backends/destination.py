"""The pool that an existing volume is to be moved to: one that a client names, or the best one for another type."""

from collections.abc import Sequence

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.model import names
from nbdsvc.model.entities import Volume, VolumeType
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.decide import Refusal, judge
from nbdsvc.scheduler.filters import CAPABILITIES
from nbdsvc.store import repositories
from nbdsvc.units import GiB


def named_destination(app: App, conn: sa.Connection, volume: Volume, host: str) -> str:
    """`host@backend#pool` for what a client wrote: all of it; host@backend or host where that has one pool only.

    InvalidInput where there is no such pool or several are meant, where the volume is there already, and where the pool
    cannot take it: full, down, disabled, frozen, of another zone, or not what its type demands. Unsupported for another host.
    """
    found = _named(placement.candidates(app, conn), host)
    if found.full_name == volume.full_host:
        raise _refused(host, "the volume is in this pool already")
    if found.host != volume.host:
        raise errors.Unsupported(
            reason=f"volume {volume.id} is on host {volume.host}, and cannot be moved to another host"
        )
    type_now = repositories.volume_types.find(conn, volume.volume_type_id) if volume.volume_type_id else None
    if refusal := judge(_request(volume, type_now), found):
        raise _refused(host, str(refusal))
    if not placement.reserve(app, conn, found.full_name, volume.size * GiB, found.pool):
        raise _refused(host, f"{found.full_name} has become full")
    return found.full_name


def _named(candidates: Sequence[Candidate], host: str) -> Candidate:
    parts = names.split_host(host)
    found = [
        each
        for each in candidates
        if all(part in ("", own) for part, own in zip(parts, (each.host, each.backend, each.pool.name), strict=True))
    ]
    if not found or not parts[0]:
        raise _refused(host, "no pool has this name: host@backend#pool")
    if len(found) > 1:
        raise _refused(host, f"it has several pools: name one of {', '.join(each.full_name for each in found)}")
    return found[0]


def _refused(host: str, reason: str) -> errors.InvalidInput:
    return errors.InvalidInput(field="host", value=host[:80], reason=reason)


def retype_refusal(app: App, conn: sa.Connection, volume: Volume, wanted: VolumeType) -> Refusal | None:
    """What keeps the volume from having this type where it is; None where nothing does, or its pool is not reported now."""
    there = [each for each in placement.candidates(app, conn) if each.full_name == volume.full_host]
    refusals = (judge(_request(volume, wanted), each, (CAPABILITIES,)) for each in there)
    return next((refusal for refusal in refusals if refusal), None)


def destination_for_type(app: App, conn: sa.Connection, volume: Volume, wanted: VolumeType) -> str:
    """The best pool of its host, but its own, for the volume with this type.

    NoValidBackend where none can take it, NoRoom where one could if it had the room; both say why of each.
    """
    return placement.choose_among(app, conn, _request(volume, wanted), lambda: _others(app, conn, volume))


def _others(app: App, conn: sa.Connection, volume: Volume) -> list[Candidate]:
    """The pools of the volume's host but its own."""
    found = placement.candidates(app, conn)
    return [each for each in found if each.host == volume.host and each.full_name != volume.full_host]


def _request(volume: Volume, wanted: VolumeType | None) -> Request:
    specs = wanted.extra_specs if wanted else {}
    multiattach = wanted.multiattach if wanted else volume.multiattach
    return Request(volume.size * GiB, volume.availability_zone, specs, multiattach, seed=volume.id)
