"""Goes on with a creation that failed for its backend's reason: in the pool that the scheduler chooses next.

The failed operation has undone what it made, and is the record of its attempt; a new one belongs to the next backend, perhaps
of another host. One transaction ends the first, moves the volume's row and submits the second: a crash finds either.
"""

from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.driver import ProviderState
from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.entities import Volume
from nbdsvc.model.operation import Operation
from nbdsvc.operations.journal import CHANNEL
from nbdsvc.operations.operation_type import OperationType, args_to_json
from nbdsvc.scheduler.candidate import Nearness, Request
from nbdsvc.store import operations as journal
from nbdsvc.store import qos_specs, repositories, secrets
from nbdsvc.units import GiB
from nbdsvc.volumes.create import CreateArgs, locks_of
from nbdsvc.volumes.image_cache.evict import make_room
from nbdsvc.volumes.image_cache.keep import keep

_CREATING = ("creating", "downloading")


def going_on(app: Callable[[], App], create: OperationType[CreateArgs]) -> OperationType[CreateArgs]:
    """The same operation type, but where another pool may do better, or the same one with fewer cached images, its failure is
    not the volume's. When it succeeds, its image may be kept for further volumes.
    """

    def fail(conn: sa.Connection, operation: Operation, args: CreateArgs, error: errors.Error) -> None:
        if not _go_on(app(), conn, operation, args, error):
            create.fail(conn, operation, args, error)

    def succeed(conn: sa.Connection, operation: Operation, args: CreateArgs) -> None:
        create.succeed(conn, operation, args)
        if key := (operation.results.get("fill") or {}).get("version"):
            keep(app(), conn, args.volume_id, operation.id, key)

    return replace(create, fail=fail, succeed=succeed)


def _go_on(app: App, conn: sa.Connection, operation: Operation, args: CreateArgs, error: errors.Error) -> bool:
    """Move the volume to the next pool and submit its creation there; False where there is none, or it would not help."""
    volume = repositories.volumes.find(conn, args.volume_id)
    if volume is None or volume.status not in _CREATING or not _may_go_on(operation, error):
        return False
    if evicted := _evict(app, conn, volume, error, args.after):
        # In the same pool, once they are gone: each such attempt leaves fewer of them.
        return _move(app, conn, operation, volume.full_host, replace(args, after=(*args.after, *evicted)))
    if len(args.tried) + 1 >= app.settings.scheduler_max_attempts:
        return False
    tried = (*args.tried, {"pool": volume.full_host, "error": operation.error})
    try:
        pool = _next_pool(app, conn, volume, args, frozenset(str(each["pool"]) for each in tried))
    except errors.BackendError:
        return False
    return pool is not None and _move(app, conn, operation, pool, replace(args, tried=tried))


def _evict(
    app: App, conn: sa.Connection, volume: Volume, error: errors.Error, before: tuple[str, ...]
) -> tuple[str, ...]:
    """Cached images that go because the volume's pool is full, but for those that were to go `before`; none for a volume
    that is to be one itself.
    """
    if not isinstance(error, errors.OutOfSpace) or volume.project_id == names.IMAGE_CACHE:
        return ()
    return make_room(app, conn, volume.full_host, volume.size, before)


def _may_go_on(operation: Operation, error: errors.Error) -> bool:
    """Whether the backend is at fault, and nothing was left behind in it."""
    if operation.state != model.FAILED or operation.cancel_requested:
        return False
    return isinstance(error, errors.BackendError) and error.facts.get("backend") != "database"


def _next_pool(app: App, conn: sa.Connection, volume: Volume, args: CreateArgs, tried: frozenset[str]) -> str | None:
    """As for a new volume, without the pools that were tried. None where the volume shares blocks with its source."""
    near = Nearness.from_json(args.near)
    if args.snapshot_id or args.source_volid or args.source_replica:
        if placement.instant_clone(conn, volume.full_host):
            return None
        # Only the backend that holds the bytes can copy them.
        near = replace(near, same_backends=frozenset({names.join_host(volume.host, volume.backend)}))
    found = repositories.volume_types.find(conn, volume.volume_type_id) if volume.volume_type_id else None
    specs = found.extra_specs if found else {}
    size, zone, limits = volume.size * GiB, volume.availability_zone, qos_specs.demands(conn, found)
    wanted = Request(size, zone, specs, volume.multiattach, tried, near, volume.id, **limits)
    return placement.choose_pool(app, conn, wanted)


def _move(app: App, conn: sa.Connection, operation: Operation, full_name: str, args: CreateArgs) -> bool:
    host, backend, pool = names.split_host(full_name)
    place = {"host": host, "backend": backend, "pool": pool}
    if not repositories.volumes.transition_if(
        conn, args.volume_id, _CREATING, "creating", **place, **ProviderState().columns()
    ):
        return False
    made = _successor(operation, host, backend, args)
    journal.insert(conn, made)
    if (reference := secrets.of(conn, operation.id)) is not None:
        secrets.keep(conn, made.id, reference)
    results = {**operation.results, model.CONTINUED_BY: made.id}
    journal.update_on(conn, operation.step_host, operation.id, results=results)
    app.database.notify(conn, CHANNEL)
    return True


def _successor(failed: Operation, host: str, backend: str, args: CreateArgs) -> Operation:
    """The same request for another backend: with what is left of its time, and its limit of bytes a second."""
    return Operation(
        id=names.new_id(),
        kind=failed.kind,
        host=host,
        backend=backend,
        project_id=failed.project_id,
        user_id=failed.user_id,
        request_id=failed.request_id,
        resource_type=failed.resource_type,
        resource_id=failed.resource_id,
        args=args_to_json(args),
        locks=[lock.to_json() for lock in locks_of(args)],
        rate=failed.rate,
        deadline=failed.deadline,
    )
