"""The environment of use cases: the database, the settings and the journal, to which they submit operations."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.config import Settings
from nbdsvc.exporter import AddSecret
from nbdsvc.images.resolve import Images
from nbdsvc.model import clock, names, states
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Volume
from nbdsvc.model.operation import Lock, Operation
from nbdsvc.operations.client import Operations
from nbdsvc.operations.journal import CHANNEL
from nbdsvc.operations.operation_type import A, OperationType, args_to_json
from nbdsvc.store import backends, moves, repositories
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database

T = TypeVar("T")
# The operations on a cached image.
_OF_CACHED = ("volume.create", "volume.delete")


@dataclass(frozen=True)
class App:
    """The side that answers requests."""

    database: Database
    operations: Operations
    settings: Settings
    images: Images | None
    """None where they are another process's, which then judges references."""
    last_heartbeat: dict[str, float] = field(default_factory=dict)
    """When the backends of this process (host@backend) reported last, by the clock that does not jump."""
    end_access: Callable[[dict[str, str]], None] | None = None
    """Ends exports of this process without a record; None where they are another process's."""
    add_secret: Mapping[str, AddSecret] = field(default_factory=dict)
    """By driver_volume_type: what completes the connection_info of an attachment."""
    types: Mapping[str, OperationType[Any]] = field(default_factory=dict)
    """By name: the ends of operations whose own host cannot end them."""
    limiting: frozenset[str] = frozenset()
    """The transports, as attachments have them, that keep clients to limits."""

    @contextmanager
    def change(self) -> Iterator[sa.Connection]:
        """A write transaction that may submit operations; the engine is woken after its commit."""
        with self.database.write() as conn:
            yield conn
        self.operations.wake()

    def check_database_room(self) -> None:
        """OutOfSpace where the database has hardly any room left for what adds something."""
        if self.database.reserve:
            self.database.reserve.check()

    def submit(
        self,
        conn: sa.Connection,
        context: Context,
        operation_type: OperationType[A],
        args: A,
        *,
        backend: Volume | str,
        resource: tuple[str, str],
        bounded: bool = True,
    ) -> Operation:
        """Write an operation in the caller's transaction (see `change`), with the locks that its type calls for.

        backend: where it runs: the backend of this volume, or `host@backend#pool`. resource: (noun, id) that it is about.
        bounded: whether it counts against what a project may have unfinished.

        Raises NotFound and Conflict as `end_move`, Conflict for a cached image that it could change, QuotaExceeded for too
        many unfinished operations of the project, Frozen for one that modifies something on a frozen backend, and OutOfSpace
        for one that adds something where the database has hardly any room left.
        """
        if operation_type.adds:
            self.check_database_room()
        if isinstance(backend, Volume) and backend.project_id == names.IMAGE_CACHE:
            _check_may_work_on_cached(backend, operation_type.name)
        host = backend if isinstance(backend, str) else backend.full_host
        locks = list(operation_type.locks(args))
        if isinstance(backend, Volume):
            self.end_move(conn, backend, locks)
        made = operation(self, context, operation_type.name, host, resource, locks, args_to_json(args))
        if operation_type.modifies:
            backends.check_not_frozen(conn, host)
        if bounded:
            journal.check_unfinished(conn, made.host, made.backend, made.project_id, self.settings.max_operations)
        journal.insert(conn, made)
        if self.database.outbox:
            self.database.outbox.begun(conn, made)
        self.database.notify(conn, CHANNEL)
        return made

    @staticmethod
    def end_move(conn: sa.Connection, volume: Volume, locks: Iterable[Lock]) -> None:
        """Where an operation with these locks would wait for a move of the volume: end the move, see store/moves.py.

        The move may be over before the operation begins, and then the volume would not be where it was submitted to. It may
        also have begun since `volume` was read: on PostgreSQL other transactions commit meanwhile. NotFound where another
        project has accepted it since.
        """
        wanted = {lock.name for lock in locks}
        if wanted & {volume.id, names.delete_volume_lock(volume.id)} or moves.locks_snapshot(conn, volume, wanted):
            now = repositories.volumes.find(conn, volume.id) or volume
            if now.project_id != volume.project_id:
                raise errors.NotFound(resource="Volume", id=volume.id)
            if now.full_host != volume.full_host or now.migration_status in states.MIGRATION_UNSETTLED:
                moves.yield_to(conn, volume)


@dataclass(frozen=True)
class Waiting(Generic[T]):
    """Operations that a use case has submitted, and its result when they have ended. To wait takes no thread."""

    operations: tuple[str, ...]
    seconds: float
    result: Callable[[], T]


def _check_may_work_on_cached(volume: Volume, kind: str) -> None:
    """Conflict for an operation that could change the bytes of which other volumes are cloned, or their place."""
    if kind not in _OF_CACHED:
        reason = f"volume {volume.id} is a cached image: it can only be deleted (nbdsvc image cache evict)"
        raise errors.Conflict(reason=reason)


def operation(
    app: App, context: Context, kind: str, host: str, resource: tuple[str, str], locks: list[Lock], args: dict[str, Any]
) -> Operation:
    """A new operation for the host that owns `host@backend#pool`. resource: (type, id)."""
    name, backend, _pool = names.split_host(host)
    seconds = app.settings.operation_deadline
    deadline = clock.now() + timedelta(seconds=seconds) if seconds else None
    return Operation(
        id=names.new_id(),
        kind=kind,
        host=name,
        backend=backend,
        project_id=context.project_id,
        user_id=context.user_id,
        request_id=context.request_id,
        resource_type=resource[0],
        resource_id=resource[1],
        args=args,
        locks=[lock.to_json() for lock in locks],
        deadline=deadline,
    )


def scope(context: Context, all_tenants: bool = False) -> str | None:
    """The project whose rows a request sees; None: all, for an administrator's request by id or for all projects."""
    return None if context.is_admin and all_tenants else context.project_id


def owner_scope(context: Context) -> str | None:
    """The project of a look-up by id; None, all projects, for an administrator."""
    return None if context.is_admin else context.project_id
