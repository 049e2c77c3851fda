"""Ends operations, or hands them on to other hosts, when their present host was declared lost and will not run them.

The step at the cursor counts as failed. Steps that other hosts did are undone by those hosts; the end of an operation
whose own host is lost is made here. An operation that was to remove objects of the lost host counts as succeeded. Each
operation is one transaction that checks whether the operation is still on the lost host; so any process may do this,
several at once, and again after a crash. One whose volume another host of the cluster takes over waits for that, and goes
on there.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
import structlog

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation, Place
from nbdsvc.operations.journal import CHANNEL, ENDED_CHANNEL
from nbdsvc.operations.operation_type import OperationType
from nbdsvc.operations.step_places import StepPlaces
from nbdsvc.operations.unknown_type import typed
from nbdsvc.store import clusters, hosts, moves, operation_locks, outbox, secrets, transitions
from nbdsvc.store import operations as rows
from nbdsvc.store.database import Database

log = structlog.get_logger(__name__)

# Nouns of what is in a pool: an operation on a host or a backend ends with it.
_IN_POOLS = ("volume", "snapshot", "group", "group_snapshot")
Types = Mapping[str, OperationType[Any]]


class _Run(NamedTuple):
    """The fields of a Run on which the place of a step depends."""

    operation: Operation
    args: Any
    results: dict[str, Any]


class _LeftError(Exception):
    """The operation's own host took it back: the transaction changes nothing."""


def settle(database: Database, host: str, types: Types) -> int:
    """End, or hand on to other hosts, every operation on the lost host; returns their number."""
    with database.read() as conn:
        standing = [each.id for each in rows.unfinished(conn, host) if each.step_host == host]
    settled = [_settle(database, host, types, id) for id in standing]
    if any(settled):
        database.scrub()
    return sum(settled)


def _settle(database: Database, host: str, types: Types, id: str) -> bool:
    """False where it has left the host, or leaves it at this moment, or the host has been allowed to return; and where its
    end fails, which keeps no other one up.
    """
    try:
        return _settle_in_one(database, host, types, id)
    except _LeftError:
        return False
    except errors.DatabaseUnavailable:
        raise
    except Exception as error:
        log.error("an operation of a lost host could not be ended", operation=id, host=host, reason=str(error))
        return False


def _settle_in_one(database: Database, host: str, types: Types, id: str) -> bool:
    with database.write() as conn:
        database.lock_name(conn, f"lost {id}")
        found = rows.rows.find(conn, id)
        if found is None or found.finished or found.step_host != host or not hosts.is_lost(conn, host):
            return False
        type, args = typed(types, found)
        transitions.hold_subjects(conn, found)
        if not _follow(conn, found, type):
            if _waits(conn, found):
                return False
            with outbox.ending(database.outbox, conn, id):
                _go_on(conn, found, type, args)
        database.notify(conn, CHANNEL)
        database.notify(conn, ENDED_CHANNEL, host)
    return True


def _is_of_storage(found: Operation) -> bool:
    """Whether what it works on, or what a backup is made of, is in a pool, and not the host itself."""
    return found.resource_type in _IN_POOLS or "volume_id" in found.args


def _waits(conn: sa.Connection, found: Operation) -> bool:
    """Whether it goes on at the host that is to take over its volume, or can only at its own."""
    awaits = clusters.awaits_take_over(conn, found.step_host, found.step_backend)
    has_heir = clusters.heir(conn, found.step_host, found.step_backend) is not None
    return _is_of_storage(found) and (awaits or has_heir)


def _follow(conn: sa.Connection, found: Operation, type: OperationType[Any]) -> bool:
    """Hand it on to the host that has taken over its volume, as it is; False where none has, or it cannot leave.

    There it is taken up at its step, as after a crash: objects have its id. One that two hosts share is undone, because what
    the lost one held of it, a server or a connection, is gone; where it cannot be undone any more it goes on.
    """
    heir = clusters.heir(conn, found.step_host, found.step_backend)
    if heir is None or not _is_of_storage(found) or moves.is_undecided(conn, found):
        return False
    old, new = (names.join_host(host, found.step_backend) for host in (found.step_host, heir))
    changes: dict[str, Any] = {
        "step_host": heir, "taken_up": False, "results": {**found.results, model.TAKEN_OVER: True},
        "args": {key: new if value == old else value for key, value in found.args.items()},
    }  # fmt: skip
    if found.host == found.step_host:
        changes["host"] = clusters.heir(conn, found.host, found.backend) or found.host
    if found.state != model.UNDOING and _is_shared(type) and _can_be_undone(found, type):
        changes |= {"state": model.UNDOING, "error": _facts(conn, found, _error(found.step_host))}
    _write(conn, found, **changes)
    return True


def _is_shared(type: OperationType[Any]) -> bool:
    return any(step.host for step in type.steps)


def _can_be_undone(found: Operation, type: OperationType[Any]) -> bool:
    return found.cursor < len(type.steps) and (found.cursor < 0 or type.steps[found.cursor].stoppable)


def _go_on(conn: sa.Connection, found: Operation, type: OperationType[Any], args: Any) -> None:
    if found.state != model.UNDOING and found.host == found.step_host and _is_done(found, type):
        _end(conn, found, type, args, None)
        return
    error = errors.from_facts(found.error) if found.error else _error(found.step_host)
    cursor, place = _undone_elsewhere(found, type, args)
    if place is None and found.host == found.step_host:
        _end(conn, found, type, args, error)
    else:
        _hand_on(conn, found, error, cursor, place or found.own_place)


def _is_done(found: Operation, type: OperationType[Any]) -> bool:
    return found.cursor >= len(type.steps) or (type.removes and not found.cancel_requested)


def _error(host: str) -> errors.Error:
    return errors.BackendUnavailable(backend=host, reason="its host was declared lost")


def _undone_elsewhere(found: Operation, type: OperationType[Any], args: Any) -> tuple[int, Place | None]:
    """The last step before the cursor that another host has to undo, and its place; (-1, None) without such a step."""
    places, run = StepPlaces(found, type.steps), _Run(found, args, dict(found.results))
    for index in range(min(found.cursor, len(type.steps)) - 1, -1, -1):
        if type.steps[index].undo and type.steps[index].needed(run):  # type: ignore[arg-type]
            place = places.of(run, index, found.cursor)  # type: ignore[arg-type]
            if place.host != found.step_host:
                return index, place
    return -1, None


def _hand_on(conn: sa.Connection, found: Operation, error: errors.Error, cursor: int, place: Place) -> None:
    moved = {"step_host": place.host, "step_backend": place.backend, "taken_up": False}
    _write(conn, found, state=model.UNDOING, cursor=cursor, error=_facts(conn, found, error), **moved)


def _end(
    conn: sa.Connection, found: Operation, type: OperationType[Any], args: Any, error: errors.Error | None
) -> None:
    facts, state = (_facts(conn, found, error), model.FAILED) if error else (None, model.SUCCEEDED)
    _write(conn, found, state=state, error=facts, finished_at=clock.now())
    operation_locks.forget(conn, found.id)
    with transitions.recording_skipped() as skipped:
        ended = rows.rows.get(conn, found.id)
        if error:
            type.fail(conn, ended, args, error)
        else:
            type.succeed(conn, ended, args)
    secrets.forget(conn, found.id)  # after its end, which gives them to a creation that goes on elsewhere
    if skipped:
        rows.update_on(conn, found.step_host, found.id, skipped=skipped)


def _facts(conn: sa.Connection, found: Operation, error: errors.Error) -> dict[str, Any]:
    return secrets.without(errors.facts_of(error), secrets.of(conn, found.id))


def _write(conn: sa.Connection, found: Operation, **changes: Any) -> None:
    """Write the row by compare-and-swap, if it has not changed since it was read."""
    if not rows.resume(conn, found.step_host, found, **changes):
        raise _LeftError
