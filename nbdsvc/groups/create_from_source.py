"""Create a group from a group snapshot or from another group: a new volume for each of the source's (S038, S111)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App, owner_scope
from nbdsvc.backends import placement
from nbdsvc.groups import outcome
from nbdsvc.groups.outcome import Outcome
from nbdsvc.groups.refs import read_group_ref, read_group_snapshot_ref, read_snapshot_refs, read_volume_refs
from nbdsvc.host import backend_of, host_of
from nbdsvc.model import names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Snapshot, Volume
from nbdsvc.model.groups import Group
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.operation_type import OperationType, Run, Step
from nbdsvc.refs import keep_state, read_snapshot_ref, read_volume_ref
from nbdsvc.scheduler.candidate import Request
from nbdsvc.store import groups, moves, quotas, repositories, transitions
from nbdsvc.units import GiB
from nbdsvc.volumes.fill import fill_from_snapshot, fill_from_volume


@dataclass(frozen=True)
class CreateFromSourceRequest:
    """A request for a group with the bytes of one of the two."""

    group_snapshot_id: str | None = None
    source_group_id: str | None = None
    name: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class CreateFromSourceArgs:
    """Arguments of the operation `group.create_from_source`. snapshot_ids or source_ids: the source of each volume."""

    group_id: str
    volume_ids: tuple[str, ...]
    snapshot_ids: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    group_snapshot_id: str | None = None
    source_group_id: str | None = None


@dataclass(frozen=True)
class _Source:
    """group: of the same type and place. volumes: each with its snapshot, where it is made of one; in one order."""

    group: Group
    volumes: list[Volume]
    snapshots: Sequence[Snapshot] = field(default=())

    def sizes(self) -> list[int]:
        """GiB of each new volume."""
        return [each.volume_size for each in self.snapshots] or [each.size for each in self.volumes]


def create_group_from_source(app: App, context: Context, request: CreateFromSourceRequest) -> Group:
    """Start making the group and its volumes, which have the types, sizes and metadata of the source's.

    Raises NotFound, InvalidInput where not exactly one source is given, and for a source without volumes; InvalidState for
    the status of the source, or of one of its snapshots or volumes; QuotaExceeded; OutOfSpace, BackendUnavailable.
    """
    if (request.group_snapshot_id is None) == (request.source_group_id is None):
        reason = "exactly one of group_snapshot_id and source_group_id must be given"
        raise errors.InvalidInput(field="create-from-src", value=None, reason=reason)
    with app.change() as conn:
        source = _find(conn, owner_scope(context), request)
        _check_quotas(app, conn, context, source)
        source = _held(conn, source, owner_scope(context))
        group = groups.groups.insert(conn, _row(context, request, source.group))
        volumes = [_new_volume(app, conn, context, group, source, index) for index in range(len(source.volumes))]
        args = _args(group, volumes, source)
        for volume in source.volumes if args.source_ids else ():
            app.end_move(conn, volume, _locks(args))
        app.submit(conn, context, CREATE_GROUP_FROM_SOURCE, args, backend=group.full_name, resource=("group", group.id))
    return group


def _find(conn: sa.Connection, project_id: str | None, request: CreateFromSourceRequest) -> _Source:
    if request.group_snapshot_id is not None:
        found = _of_snapshot(conn, project_id, request.group_snapshot_id)
    else:
        found = _of_group(conn, project_id, str(request.source_group_id))
    if not found.volumes:
        reason = "the source has no volumes"
        raise errors.InvalidInput(field="create-from-src", value=found.group.id, reason=reason)
    return found


def _of_snapshot(conn: sa.Connection, project_id: str | None, id: str) -> _Source:
    whole = groups.group_snapshots.get_for_update(conn, id, project_id)
    _require("GroupSnapshot", whole.id, whole.status)
    snapshots = groups.snapshots_of(conn, id)
    volumes = [repositories.volumes.get(conn, each.volume_id) for each in snapshots]
    return _Source(groups.groups.get(conn, whole.group_id), volumes, snapshots)


def _as_seen(volume: Volume, group: Group, project_id: str | None) -> Volume:
    """With a type of the group, which it may have left since; and without what another project says of it, to which it may
    have been given then.
    """
    if volume.volume_type_id not in group.volume_types:
        volume = replace(volume, volume_type_id=group.volume_types[0])
    if project_id in (None, volume.project_id):
        return volume
    return replace(volume, name=None, description=None, metadata={}, image_metadata={}, bootable=False)


def _of_group(conn: sa.Connection, project_id: str | None, id: str) -> _Source:
    group = groups.lock_usable(conn, id, project_id, "be copied")
    return _Source(group, groups.volumes_of(conn, id))


def _held(conn: sa.Connection, source: _Source, project_id: str | None) -> _Source:
    """With the volumes and snapshots that are to be copied as they stay until the commit."""
    volumes = groups.hold_volumes(conn, source.volumes)
    if source.snapshots:
        snapshots = repositories.snapshots.hold(conn, [each.id for each in source.snapshots], share=True)
        for snapshot in snapshots:
            _require("Snapshot", snapshot.id, snapshot.status)
        return replace(
            source, volumes=[_as_seen(each, source.group, project_id) for each in volumes], snapshots=snapshots
        )
    for each in volumes:
        _require("Volume", each.id, each.status)
        if each.migration_status in states.MIGRATION_IN_FLIGHT:
            moves.yield_to(conn, each)
    return replace(source, volumes=volumes)


def _require(noun: str, id: str, status: str) -> None:
    if status != "available":
        facts = {"resource": noun, "id": id, "action": "be copied into a group", "status": status}
        raise errors.InvalidState(**facts, allowed=["available"])


def _check_quotas(app: App, conn: sa.Connection, context: Context, source: _Source) -> None:
    sizes = source.sizes()
    more = {"groups": 1, "volumes": len(sizes), "gigabytes": sum(sizes)}
    quotas.check(app.database, conn, context.project_id, app.settings.quotas, more)
    for size in sizes:
        quotas.check_volume_size(conn, context.project_id, app.settings.quotas, size)


def _row(context: Context, request: CreateFromSourceRequest, source: Group) -> Group:
    return Group(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        status="creating",
        host=source.host,
        backend=source.backend,
        group_type_id=source.group_type_id,
        volume_types=source.volume_types,
        name=request.name,
        description=request.description,
        availability_zone=source.availability_zone,
        group_snapshot_id=request.group_snapshot_id,
        source_group_id=request.source_group_id,
    )


def _new_volume(app: App, conn: sa.Connection, context: Context, group: Group, source: _Source, index: int) -> Volume:
    """The row of a volume, whose room is promised by it."""
    of, size = source.volumes[index], source.sizes()[index]
    found = repositories.volume_types.find(conn, of.volume_type_id or "")
    specs = found.extra_specs if found else {}
    wanted = Request(size * GiB, of.availability_zone, specs, of.multiattach, seed=group.id)
    place = names.split_host(placement.choose_pool_of_copy(app, conn, of.full_host, wanted, same_type=True))
    host, backend, pool = place
    row = Volume(
        id=names.new_id(),
        project_id=context.project_id,
        user_id=context.user_id,
        size=size,
        status="creating",
        host=host,
        backend=backend,
        pool=pool,
        name=of.name,
        description=of.description,
        availability_zone=of.availability_zone,
        volume_type_id=of.volume_type_id,
        snapshot_id=source.snapshots[index].id if source.snapshots else None,
        source_volid=None if source.snapshots else of.id,
        bootable=of.bootable,
        multiattach=of.multiattach,
        metadata=of.metadata,
        image_metadata=of.image_metadata,
        group_id=group.id,
    )
    return repositories.volumes.insert(conn, row)


def _args(group: Group, volumes: Sequence[Volume], source: _Source) -> CreateFromSourceArgs:
    return CreateFromSourceArgs(
        group.id,
        tuple(each.id for each in volumes),
        tuple(each.id for each in source.snapshots),
        () if source.snapshots else tuple(each.id for each in source.volumes),
        group.group_snapshot_id,
        group.source_group_id,
    )


def _locks(args: CreateFromSourceArgs) -> list[Lock]:
    own = {"group": args.group_id, "group_snapshot": args.group_snapshot_id}
    ids = {"volume": list(args.volume_ids), "snapshot": list(args.snapshot_ids), "source": list(args.source_ids)}
    return locks("group.create_from_source", **own, **ids)


def _allocate(run: Run[CreateFromSourceArgs]) -> dict[str, Any]:
    """Make the objects: by a driver that keeps groups whole, else each, empty where the backend does not clone at once."""
    args, digests = run.args, host_of(run).digests
    found = _by_driver(run) if backend_of(run).groups() else _each(run)
    if _is_filled(run):
        for id, source in zip(args.volume_ids, args.snapshot_ids or args.source_ids, strict=True):
            digests.copy(source, id)
    return found.to_json()


def _by_driver(run: Run[CreateFromSourceArgs]) -> Outcome:
    """Without an error it is a success, whatever the entries say of themselves (S111)."""
    args, driver = run.args, backend_of(run).groups()
    assert driver is not None
    returned = driver.create_consistencygroup_from_src(
        read_group_ref(run, args.group_id),
        read_volume_refs(run, args.volume_ids),
        read_group_snapshot_ref(run, args.group_snapshot_id) if args.group_snapshot_id else None,
        read_snapshot_refs(run, args.snapshot_ids),
        read_group_ref(run, args.source_group_id) if args.source_group_id else None,
        read_volume_refs(run, args.source_ids),
        run.id,
    )
    return outcome.judge_pair(returned, (), args.volume_ids)


def _each(run: Run[CreateFromSourceArgs]) -> Outcome:
    backend, args, instant = backend_of(run), run.args, backend_of(run).able.instant_clone
    for id, source in zip(args.volume_ids, args.snapshot_ids or args.source_ids, strict=True):
        run.raise_if_stopped()
        volume = read_volume_ref(run, id)
        if not instant:
            state = backend.driver.create_volume(volume, run.id)
        elif args.snapshot_ids:
            snapshot = read_snapshot_ref(run, source)
            state = backend.clones().create_volume_from_snapshot(volume, snapshot, run.id)
        else:
            state = backend.clones().create_cloned_volume(volume, read_volume_ref(run, source), run.id)
        keep_state(run, repositories.volumes, id, state)
    return Outcome()


def _undo_allocate(run: Run[CreateFromSourceArgs]) -> None:
    """Of a driver that keeps groups, too: each of these volumes is new, and is deleted like any other."""
    journaled_copy.remove_journal(run)
    for volume in read_volume_refs(run, run.args.volume_ids):
        host_of(run).digests.discard(volume.id)
        backend_of(run).driver.delete_volume(volume)


def _is_filled(run: Run[CreateFromSourceArgs]) -> bool:
    backend = backend_of(run)
    return backend.able.instant_clone or backend.groups() is not None


def _is_to_be_filled(run: Run[CreateFromSourceArgs]) -> bool:
    return not _is_filled(run)


def _fill(run: Run[CreateFromSourceArgs]) -> None:
    """One after the other, each with a journal that is of it alone. After a crash those that are whole are copied again."""
    if _is_filled(run):
        return
    args = run.args
    fill = fill_from_snapshot if args.snapshot_ids else fill_from_volume
    for id, source in zip(args.volume_ids, args.snapshot_ids or args.source_ids, strict=True):
        journaled_copy.begin_without_journal(run)  # what an earlier try wrote is no zeros
        fill(run, id, source)
        journaled_copy.remove_journal(run)


def _succeed(conn: sa.Connection, operation: Operation, args: CreateFromSourceArgs) -> None:
    found = Outcome.from_json(operation.results["allocate"])
    repositories.volumes.hold_left(conn, args.volume_ids)
    for id in args.volume_ids:
        transitions.finish_volume(conn, id, "creating", "available", **found.state(id))
    transitions.finish_group(conn, args.group_id, "creating", "available")


def _fail(conn: sa.Connection, _operation: Operation, args: CreateFromSourceArgs, _error: errors.Error) -> None:
    repositories.volumes.hold_left(conn, args.volume_ids)
    for id in args.volume_ids:
        transitions.finish_volume(conn, id, "creating", "error")
    transitions.finish_group(conn, args.group_id, "creating", "error")


CREATE_GROUP_FROM_SOURCE = OperationType(
    "group.create_from_source",
    CreateFromSourceArgs,
    (
        Step("allocate", _allocate, _undo_allocate),
        Step("fill", _fill, copies=_is_to_be_filled, needed=_is_to_be_filled),
    ),
    _locks,
    _succeed,
    _fail,
    modifies=True,
    adds=True,
)
