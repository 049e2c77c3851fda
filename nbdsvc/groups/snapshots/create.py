"""Take a group snapshot: a snapshot of each volume of a group, all of one moment (S041, S108).

take     the driver, where it keeps groups; else each snapshot while all writers are held (groups/hold.py)
judge    what the driver said
fill     where the backend shares no blocks: the bytes, which do not change, because no volume is in use
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.datapath import source as sources
from nbdsvc.driver import SnapshotRef
from nbdsvc.groups import outcome
from nbdsvc.groups.hold import HOLDING, Taken, exported, take_together
from nbdsvc.groups.outcome import BAD, BAD_DELETION, Outcome
from nbdsvc.groups.refs import read_group_snapshot_ref, read_snapshot_refs
from nbdsvc.host import backend_of, host_of
from nbdsvc.location import LOCAL
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.groups import CONSISTENT, Group, GroupSnapshot, is_true
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, read_volume_ref
from nbdsvc.snapshots.new_row import new_row
from nbdsvc.store import groups, quotas, repositories, transitions


@dataclass(frozen=True)
class CreateGroupSnapshotArgs:
    """Arguments of the operation `group_snapshot.create`. demanded: one that is not of one moment is a failure."""

    group_snapshot_id: str
    group_id: str
    snapshot_ids: tuple[str, ...]
    volume_ids: tuple[str, ...]
    demanded: bool = False


def create_group_snapshot(
    app: App, context: Context, group_id: str, name: str | None, description: str | None
) -> GroupSnapshot:
    """Start taking a snapshot of all volumes of a group.

    Raises NotFound, InvalidState (of the group or a volume), InvalidInput for a group without volumes, Unsupported where the
    backend takes no snapshots, none of a volume in use, or where the type demands that they are of one moment and a volume
    is exported by a transport that cannot hold its writers; QuotaExceeded.
    """
    with app.change() as conn:
        group = groups.lock_usable(conn, group_id, owner_scope(context), "be snapshotted")
        volumes = groups.volumes_of(conn, group.id)
        demanded = is_true(groups.group_types.get(conn, group.group_type_id).group_specs, CONSISTENT)
        wanted = {"snapshots": len(volumes), "gigabytes": sum(each.size for each in volumes)}
        quotas.check(app.database, conn, context.project_id, app.settings.quotas, wanted)
        volumes = groups.hold_volumes(conn, volumes)
        _check(conn, group, volumes, demanded=demanded)
        made = groups.group_snapshots.insert(conn, _row(context, group, name, description))
        given = {"name": name, "description": description, "group_snapshot_id": made.id}
        rows = [repositories.snapshots.insert(conn, new_row(context, each, **given)) for each in volumes]
        ids = tuple(row.id for row in rows), tuple(row.volume_id for row in rows)
        args = CreateGroupSnapshotArgs(made.id, group.id, *ids, demanded)
        for volume in volumes:
            app.end_move(conn, volume, _locks(args))
        resource = ("group_snapshot", made.id)
        app.submit(conn, context, CREATE_GROUP_SNAPSHOT, args, backend=group.full_name, resource=resource)
    return made


def _check(conn: sa.Connection, group: Group, volumes: list[Volume], *, demanded: bool) -> None:
    if not volumes:
        reason = "it has no volumes, and so there is nothing to take a snapshot of"
        raise errors.InvalidInput(field="group_id", value=group.id, reason=reason)
    for volume in volumes:
        if volume.status not in states.GROUPED:
            facts = {"resource": "Volume", "id": volume.id, "action": "be snapshotted with its group"}
            raise errors.InvalidState(**facts, status=volume.status, allowed=sorted(states.GROUPED))
    if placement.implements(conn, group.full_name, "GroupDriver"):
        return
    placement.require(conn, group.full_name, "SnapshotDriver")
    if any(each.status == "in-use" for each in volumes):
        placement.require_instant_snapshot(conn, group.full_name)
    if demanded and not placement.implements(conn, group.full_name, "ConsistentSnapshotDriver"):
        _check_transports(repositories.attachments_of(conn, *(row.id for row in volumes)))


def _check_transports(attachments: Iterable[Attachment]) -> None:
    for each in attachments:
        if each.exported and each.protocol not in HOLDING:
            reason = (
                f"volume {each.volume_id} is exported by {each.protocol}, which cannot hold its writers, its backend takes "
                "no snapshots of one moment by itself, and the group's type demands them: detach it first"
            )
            raise errors.Unsupported(reason=reason)


def _row(context: Context, group: Group, name: str | None, description: str | None) -> GroupSnapshot:
    owner = (context.project_id, context.user_id)
    return GroupSnapshot(names.new_id(), *owner, group.id, group.group_type_id, "creating", name, description)


def _locks(args: CreateGroupSnapshotArgs) -> list[Lock]:
    own = {"group": args.group_id, "group_snapshot": args.group_snapshot_id}
    ids = {"snapshot": list(args.snapshot_ids), "volume": list(args.volume_ids)}
    return locks("group_snapshot.create", **own, **ids)


def _take(run: Run[CreateGroupSnapshotArgs]) -> dict[str, Any]:
    _write_out(run)
    found, taken = _by_driver(run) if backend_of(run).groups() else _by_service(run)
    run.progress(1, 1, taken.text())
    _copy_digests(run)
    return {**found.to_json(), "text": taken.text(), "held_seconds": taken.seconds}


def _by_driver(run: Run[CreateGroupSnapshotArgs]) -> tuple[Outcome, Taken]:
    """Writers are held where they can be, because of what hosts keep in memory; for the rest the driver cares."""
    args, snapshots, driver = run.args, read_snapshot_refs(run, run.args.snapshot_ids), backend_of(run).groups()
    assert driver is not None
    whole, found = read_group_snapshot_ref(run, args.group_snapshot_id), [Outcome()]

    def take() -> None:
        found[0] = outcome.judge_pair(driver.create_cgsnapshot(whole, snapshots, run.id), BAD, args.snapshot_ids)

    taken = take_together(run, args.volume_ids, take, lambda: None, demanded=False, tries=1)
    return found[0], replace(taken, reason="")


def _by_service(run: Run[CreateGroupSnapshotArgs]) -> tuple[Outcome, Taken]:
    """While writers wait, only the driver's calls are made."""
    args, snapshots = run.args, read_snapshot_refs(run, run.args.snapshot_ids)
    consistent = backend_of(run).consistent_snapshots()
    take: Callable[[], float | None] = partial(_take_each, run, snapshots)
    if consistent:
        take = partial(consistent.take_snapshots, snapshots)

    def prepare() -> None:
        _discard_each(run, snapshots)
        if consistent:
            for each, state in zip(snapshots, consistent.prepare_snapshots(snapshots, run.id), strict=True):
                keep_state(run, repositories.snapshots, each.id, state)

    taken = take_together(run, args.volume_ids, take, prepare, demanded=args.demanded)
    if consistent and not (taken.reason and args.demanded):
        consistent.finish_snapshots(snapshots)
    if taken.reason and args.demanded:
        reason = f"its snapshots would not be of one moment: {taken.reason}"
        raise errors.GroupFailed(group=args.group_id, reason=reason)
    return Outcome(), taken


def _take_each(run: Run[CreateGroupSnapshotArgs], snapshots: list[SnapshotRef]) -> None:
    driver = backend_of(run).snapshots()
    for each in snapshots:
        keep_state(run, repositories.snapshots, each.id, driver.create_snapshot(each, run.id))


def _copy_digests(run: Run[CreateGroupSnapshotArgs]) -> None:
    """Not while writers wait. A volume that was written has none; one that is filled later gets its own."""
    if not _is_to_be_filled(run):
        for each in read_snapshot_refs(run, run.args.snapshot_ids):
            host_of(run).digests.copy(each.volume_id, each.id)


def _write_out(run: Run[CreateGroupSnapshotArgs]) -> None:
    """Let the kernel write to the disks what it still has, while clients go on: what is left to write while they are held is
    little. Whether a write failed, their servers tell them.
    """
    for id in {each.volume_id for each in exported(host_of(run), run.args.volume_ids)}:
        location = backend_of(run).driver.location(read_volume_ref(run, id))
        if location.scheme in LOCAL:
            with contextlib.suppress(OSError):
                fd = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)


def _discard_each(run: Run[CreateGroupSnapshotArgs], snapshots: list[SnapshotRef]) -> None:
    """Also what a call left that was killed: it may be of another moment."""
    driver = backend_of(run).snapshots()
    for each in snapshots:
        host_of(run).digests.discard(each.id)
        driver.delete_snapshot(each)


def _undo_take(run: Run[CreateGroupSnapshotArgs]) -> None:
    """What a driver of groups has said of snapshots that failed holds, until these are deleted."""
    snapshots, driver = read_snapshot_refs(run, run.args.snapshot_ids), backend_of(run).groups()
    if driver is None:
        _discard_each(run, snapshots)
        journaled_copy.remove_journal(run)
    elif "take" not in run.results or Outcome.from_json(_found(run.results)).status is None:
        for each in snapshots:
            host_of(run).digests.discard(each.id)
        whole = read_group_snapshot_ref(run, run.args.group_snapshot_id)
        returned = driver.delete_cgsnapshot(whole, snapshots)
        outcome.raise_if_bad(outcome.judge_pair(returned, BAD_DELETION, run.args.snapshot_ids), run.args.group_id)


def _judge(run: Run[CreateGroupSnapshotArgs]) -> None:
    outcome.raise_if_bad(Outcome.from_json(_found(run.results)), run.args.group_id)


def _found(results: dict[str, Any]) -> dict[str, Any] | None:
    taken = results.get("take")
    return None if taken is None else {name: taken[name] for name in ("status", "entries")}


def _is_to_be_filled(run: Run[CreateGroupSnapshotArgs]) -> bool:
    backend = backend_of(run)
    return not backend.able.instant_snapshot and backend.groups() is None


def _fill(run: Run[CreateGroupSnapshotArgs]) -> None:
    """One after the other, each with a journal that is of it alone. After a crash those that are whole are copied again."""
    if not _is_to_be_filled(run):
        return
    host, backend = host_of(run), backend_of(run)
    for snapshot in read_snapshot_refs(run, run.args.snapshot_ids):
        with sources.open(backend.driver.location(read_volume_ref(run, snapshot.volume_id))) as source:
            journaled_copy.check_room(run, snapshot.pool, source)
            target = backend.snapshots().snapshot_location(snapshot)
            journaled_copy.fill(run, source, target, snapshot.size, snapshot.id.encode()[:32], empty=False)
        journaled_copy.remove_journal(run)
        host.digests.copy(snapshot.volume_id, snapshot.id)
    run.progress(1, 1, run.results["take"]["text"])


def _succeed(conn: sa.Connection, operation: Operation, args: CreateGroupSnapshotArgs) -> None:
    found = Outcome.from_json(_found(operation.results))
    repositories.snapshots.hold_left(conn, args.snapshot_ids)
    for id in args.snapshot_ids:
        transitions.finish_snapshot(conn, id, "creating", "available", progress="100%", **found.state(id))
    transitions.finish_group_snapshot(conn, args.group_snapshot_id, "creating", "available")


def _fail(conn: sa.Connection, operation: Operation, args: CreateGroupSnapshotArgs, _error: errors.Error) -> None:
    found = Outcome.from_json(_found(operation.results))
    repositories.snapshots.hold_left(conn, args.snapshot_ids)
    for id in args.snapshot_ids:
        transitions.finish_snapshot(conn, id, "creating", found.made(id), **found.state(id))
    transitions.finish_group_snapshot(conn, args.group_snapshot_id, "creating", "error")


CREATE_GROUP_SNAPSHOT = OperationType(
    "group_snapshot.create",
    CreateGroupSnapshotArgs,
    (
        Step("take", _take, _undo_take),
        Step("judge", _judge),
        Step("fill", _fill, copies=_is_to_be_filled, needed=_is_to_be_filled),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
