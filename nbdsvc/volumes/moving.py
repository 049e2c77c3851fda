"""What migration and retype share: a volume that is not in use goes to another pool, by its driver or by a copy.

    submit   the row of its second place (model/entities.Move): room is promised at both, quotas count the volume once
    move     its driver moves it, where it can; what follows up to the switch is for where it cannot
    create   an object of zeros at the destination, under the volume's id
    copy     its bytes, with a journal, so that a copy that was interrupted goes on
    switch   the volume and its second place change their places, in one transaction; before it everything is undone by
             a cancel or a failure, from it on the operation goes forward only
    finish   the destination's driver finalizes the object
    remove   the object at the source

A source that cannot be removed keeps its row, and with it its room, and is removed later (volumes/finish_move.py).
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App
from nbdsvc.datapath import source as sources
from nbdsvc.driver import MigratedDriver, MigrateDriver, VolumeCopyDriver, VolumeRef
from nbdsvc.driver.migrate import Remote
from nbdsvc.host import Backend, host_of
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Move, Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, volume_ref
from nbdsvc.store import backends, moves, repositories, transitions
from nbdsvc.store import operations as journal
from nbdsvc.volumes.fill import fingerprint_of

_NOT_REPLICATED = (None, "disabled", "not-capable")


@dataclass(frozen=True)
class MoveArgs:
    """Arguments of `volume.migrate` and `volume.retype`; the destination is in the row of the volume's second place."""

    volume_id: str
    force_host_copy: bool = False
    lock_volume: bool = True
    """Whether its status keeps other commands away; else they end the move."""


def check_movable(conn: sa.Connection, volume: Volume, verb: str, action: str) -> None:
    """InvalidState where its status does not allow it, Unsupported while it is in use, InvalidInput where it has snapshots
    or a replica, Conflict where it is being moved, or its last source still has to be removed, Frozen where its backend is.
    verb: of states.VOLUME.
    """
    backends.check_not_frozen(conn, volume.full_host)
    if volume.status == "in-use":
        raise errors.Unsupported(
            reason=f"volume {volume.id} is in use, and only a volume that is not in use can {action}"
        )
    attached = [each for each in repositories.attachments_of(conn, volume.id) if each.status != "detached"]
    if volume.status not in states.VOLUME[verb].sources or attached:
        status = f"{volume.status} with attachments" if attached else volume.status
        raise errors.InvalidState(
            resource="Volume", id=volume.id, action=action, status=status, allowed=states.VOLUME[verb].allowed()
        )
    if snapshots := repositories.snapshots_of(conn, volume.id):
        reason = f"it has {len(snapshots)} snapshots, which would stay behind; delete them first"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)
    if volume.replication_status not in _NOT_REPLICATED:
        reason = f"its replication is {volume.replication_status}, and its replica would stay behind"
        raise errors.InvalidInput(field="volume", value=volume.id, reason=reason)
    if found := repositories.moves.find(conn, volume.id):
        what = (
            f"its former object at {found.full_host} is still to be removed" if found.switched else "it is being moved"
        )
        raise errors.Conflict(reason=f"volume {volume.id} cannot {action} now: {what}")


def submit_move(
    app: App,
    conn: sa.Connection,
    context: Context,
    operation_type: OperationType[MoveArgs],
    args: MoveArgs,
    volume: Volume,
    destination: str,
    volume_type_id: str | None,
) -> None:
    """Submit the move of the volume to `host@backend#pool`, where it is to have this type; its status is the caller's."""
    submitted = app.submit(conn, context, operation_type, args, backend=volume, resource=("volume", volume.id))
    host, backend, pool = names.split_host(destination)
    repositories.moves.insert(
        conn, Move(volume.id, submitted.id, volume.size, host, backend, pool, volume_type_id=volume_type_id)
    )
    moves.change_status(conn, volume.id, "begin")


class _Places(NamedTuple):
    """Both places of a volume, as they are before the switch."""

    volume: Volume
    move: Move
    source: Backend
    destination: Backend
    here: VolumeRef
    there: VolumeRef

    @property
    def is_one_backend(self) -> bool:
        return self.source is self.destination


def _places(run: Run[MoveArgs]) -> _Places:
    """NotFound; BackendUnavailable where one of the backends is not configured any more."""
    host = host_of(run)
    with host.database.read() as conn:
        volume, move = _rows(conn, run.args.volume_id)
        here, there = volume_ref(conn, volume), volume_ref(conn, moves.there(volume, move))
    return _Places(volume, move, host.backend(volume.backend), host.backend(move.backend), here, there)


def _rows(conn: sa.Connection, id: str) -> tuple[Volume, Move]:
    return repositories.volumes.get(conn, id), repositories.moves.get(conn, id)


def _is_switched(run: Run[MoveArgs]) -> bool:
    with host_of(run).database.read() as conn:
        return _rows(conn, run.args.volume_id)[1].switched


def _is_copied(run: Run[MoveArgs]) -> bool:
    """Whether the driver did not move it, by the results of the first step."""
    return not run.results["move"]["moved"]


def _move(run: Run[MoveArgs]) -> dict[str, bool]:
    """Let the driver move it, where both pools are of one backend whose driver can."""
    with host_of(run).database.write() as conn:
        moves.change_status(conn, run.args.volume_id, "make the destination")
    places = _places(run)
    driver = places.source.driver
    if run.args.force_host_copy or not places.is_one_backend or not isinstance(driver, MigrateDriver):
        return {"moved": False}
    moved, state = driver.migrate_volume(places.here, places.there)
    if moved:
        keep_state(run, repositories.moves, places.volume.id, state)
    return {"moved": moved}


def _move_back(run: Run[MoveArgs]) -> None:
    """Also where the step ended in the middle, before its state was kept. What the driver could not move is where it was."""
    if _is_switched(run) or run.results.get("move") == {"moved": False} or run.args.force_host_copy:
        return
    places = _places(run)
    driver = places.source.driver
    if places.is_one_backend and isinstance(driver, MigrateDriver):
        driver.migrate_volume(replace(places.there, state=places.there.state or places.here.state), places.here)


def _create(run: Run[MoveArgs]) -> None:
    if _is_copied(run):
        places = _places(run)
        state = places.destination.driver.create_volume(places.there, run.id)
        keep_state(run, repositories.moves, places.volume.id, state)


def _remove_destination(run: Run[MoveArgs]) -> None:
    if _is_copied(run) and not _is_switched(run):
        places = _places(run)
        places.destination.driver.delete_volume(places.there)


def _copy(run: Run[MoveArgs]) -> dict[str, int] | None:
    """Copy the bytes. ReadFailed where the source is shorter than the volume, WriteFailed where the destination is."""
    if not _is_copied(run):
        return None
    places = _places(run)
    _call_hooks(places, "before_volume_copy")
    try:
        return _copy_bytes(run, places)
    finally:
        _call_hooks(places, "after_volume_copy")


def _copy_bytes(run: Run[MoveArgs], places: _Places) -> dict[str, int]:
    origin, target = places.source.driver.location(places.here), places.destination.driver.location(places.there)
    others = () if places.is_one_backend else (places.destination,)
    with sources.open(origin) as source:
        _check_size(source, places.here.size)
        source.cut(places.here.size)
        if places.destination.driver.facts.thin:
            stored = sum(length for _, length, zero in source.extents() if not zero)
            places.destination.driver.check_room(places.there.pool, stored)
        result = journaled_copy.fill(
            run, source, target, places.there.size, fingerprint_of(origin), empty=True, others=others
        )
    with sources.open(target) as made:
        _check_size(made, places.there.size)
    return result


def _check_size(found: sources.Source, size: int) -> None:
    if found.size < size:
        reason = f"it ends there, and the volume has {size} bytes"
        raise errors.ReadFailed(source=found.name, offset=found.size, reason=reason)


def _undo_copy(run: Run[MoveArgs]) -> None:
    """Where the process died before it could call the second hook."""
    journaled_copy.remove_journal(run)
    if _is_copied(run) and not _is_switched(run):
        _call_hooks(_places(run), "after_volume_copy")


def _call_hooks(places: _Places, name: str) -> None:
    both: list[tuple[Backend, Remote | None]] = [(places.source, None if places.is_one_backend else "dest")]
    if not places.is_one_backend:
        both.append((places.destination, "src"))
    for backend, remote in both:
        if isinstance(backend.driver, VolumeCopyDriver):
            getattr(backend.driver, name)(places.here, places.there, remote)


def _switch(run: Run[MoveArgs]) -> None:
    """Where a cancel was requested before, this ends the operation; one that comes later finds nothing to end."""
    with host_of(run).database.write() as conn:
        if not journal.go_on(conn, run.id) and not _rows(conn, run.args.volume_id)[1].switched:
            raise errors.Cancelled(operation=run.id)
        volume, move = _rows(conn, run.args.volume_id)
        if not move.switched:
            moves.switch(conn, volume, move, **_type_changes(conn, volume, move))
            moves.change_status(conn, volume.id, "switch")


def _type_changes(conn: sa.Connection, volume: Volume, move: Move) -> dict[str, Any]:
    """What another type changes besides; with the same one the volume keeps what it was made with."""
    if move.volume_type_id in (None, volume.volume_type_id):
        return {}
    return {"multiattach": repositories.volume_types.get(conn, str(move.volume_type_id)).multiattach}


def _finish(run: Run[MoveArgs]) -> None:
    """After the switch `here` is the destination."""
    places = _places(run)
    driver = places.source.driver
    if _is_copied(run) and isinstance(driver, MigratedDriver):
        keep_state(
            run, repositories.volumes, places.volume.id, driver.update_migrated_volume(places.here, places.there)
        )


def _remove_source(run: Run[MoveArgs]) -> None:
    """After the switch `there` is the source."""
    journaled_copy.remove_journal(run)
    if _is_copied(run):
        places = _places(run)
        places.destination.driver.delete_volume(places.there)


STEPS: tuple[Step[MoveArgs], ...] = (
    Step("move", _move, _move_back),
    Step("create", _create, _remove_destination, needed=_is_copied),
    Step("copy", _copy, _undo_copy, copies=_is_copied, needed=_is_copied),
    Step("switch", _switch, stoppable=False),
    Step("finish", _finish, stoppable=False, needed=_is_copied),
    Step("remove", _remove_source, stoppable=False, needed=_is_copied),
)


def succeed(conn: sa.Connection, args: MoveArgs, during: str) -> None:
    """The end of a move. during: the status of a volume that it locks."""
    repositories.moves.delete(conn, args.volume_id)
    moves.change_status(conn, args.volume_id, "finish")
    _unlock(conn, args, during)


def fail(conn: sa.Connection, operation: Operation, args: MoveArgs, error: errors.Error, during: str) -> None:
    """The end of a move that was undone, or that could not remove one of the objects: that keeps its row."""
    move, copied = repositories.moves.find(conn, args.volume_id), operation.results.get("move") == {"moved": False}
    if move and move.switched and not copied:
        succeed(conn, args, during)
        return
    if not (copied and move and (move.switched or isinstance(error, errors.RollbackFailed))):
        repositories.moves.delete(conn, args.volume_id)
    moves.change_status(conn, args.volume_id, "give up")
    _unlock(conn, args, during)


def _unlock(conn: sa.Connection, args: MoveArgs, during: str) -> None:
    if args.lock_volume:
        transitions.finish_volume(conn, args.volume_id, during, states.PREVIOUS)
