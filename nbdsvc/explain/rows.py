"""The rows, read twice: a row that changes in between, or that an operation works on, is no difference."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import sqlalchemy as sa

from nbdsvc.model import clock
from nbdsvc.model.entities import Attachment, Backup, Move, Snapshot, StorageBackend, Volume
from nbdsvc.model.groups import Group, GroupSnapshot
from nbdsvc.model.operation import Operation
from nbdsvc.store import groups, hosts, qos_specs, repositories
from nbdsvc.store import operations as journal

# The type of the operation that runs explain itself and works on no resource.
EXPLAIN = "host.explain"
# An operation removes its lock files a moment after the end in its row.
_LINGERS = timedelta(seconds=10)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Rows:
    """The rows of all hosts at one moment. last: the sequence of the newest operation."""

    volumes: tuple[Volume, ...]
    snapshots: tuple[Snapshot, ...]
    attachments: tuple[Attachment, ...]
    backends: tuple[StorageBackend, ...]
    types: frozenset[str]
    unfinished: tuple[Operation, ...]
    later: tuple[Operation, ...]
    """Those of the moments before, and those that came after the rows that were read before."""
    last: int
    moves: tuple[Move, ...] = ()
    missing: frozenset[str] = frozenset()
    groups: tuple[Group, ...] = ()
    group_snapshots: tuple[GroupSnapshot, ...] = ()
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Attachment -> what its export is to keep clients to."""
    backups: tuple[Backup, ...] = ()

    def by_id(self) -> dict[str, Volume | Snapshot | Attachment | Group | GroupSnapshot | Backup]:
        resources = (self.volumes, self.snapshots, self.attachments, self.groups, self.group_snapshots, self.backups)
        return {row.id: row for rows in resources for row in rows}

    def operations(self) -> tuple[Operation, ...]:
        """The operations that may run while the rows are read."""
        return (*self.unfinished, *self.later)


def read_exports(conn: sa.Connection) -> Rows:
    """The rows for the periodic comparison with exports."""
    volumes = tuple(repositories.volumes.select(conn))
    unfinished = tuple(_others(journal.all_unfinished(conn)))
    return Rows(volumes, (), _attachments(conn), (), frozenset(), unfinished, (), 0)


def read(conn: sa.Connection, after: int | None = None, host: str | None = None) -> Rows:
    """The rows. after: the `last` of an earlier read; operations submitted since then count as running. host: whose exports
    have limits.
    """
    last = journal.last_sequence(conn)
    return Rows(
        tuple(repositories.volumes.select(conn)),
        tuple(repositories.snapshots.select(conn)),
        _attachments(conn),
        tuple(repositories.backends.select(conn)),
        frozenset(row.id for row in repositories.volume_types.select(conn)),
        tuple(_others(journal.all_unfinished(conn))),
        tuple(_others(journal.since(conn, clock.now() - _LINGERS, last if after is None else after))),
        last,
        tuple(repositories.moves.select(conn)),
        frozenset(hosts.missing(conn)),
        tuple(groups.groups.select(conn)),
        tuple(groups.group_snapshots.select(conn)),
        qos_specs.limits_on(conn, host) if host else {},
        tuple(repositories.backups.select(conn)),
    )


def _attachments(conn: sa.Connection) -> tuple[Attachment, ...]:
    """The attachments without secrets, which facts must not have."""
    return tuple(replace(row, secret=None) for row in repositories.attachments.select(conn))


def _others(operations: Iterable[Operation]) -> Iterable[Operation]:
    return (operation for operation in operations if operation.kind != EXPLAIN)


def names_of(operations: Iterable[Operation]) -> frozenset[str]:
    """Every id that these operations work on or read."""
    texts = (json.dumps([each.id, each.resource_id, each.args, each.locks]) for each in operations)
    return frozenset(id for text in texts for id in _ID.findall(text))


def lock_names(operations: Iterable[Operation]) -> frozenset[str]:
    """The names of the locks of these operations."""
    return frozenset(lock.name for each in operations for lock in each.lock_set())


def busy(before: Rows, after: Rows) -> frozenset[str]:
    """Ids of rows that had an operation, or changed, between two reads; with an attachment, also its volume's."""
    since = [each for each in after.operations() if (each.sequence or 0) > before.last]
    working = [*before.unfinished, *after.unfinished, *since]
    named = names_of(working) | _exclusive(working, after.attachments)
    old, new = before.by_id(), after.by_id()
    changed = [old.get(id) or new[id] for id in old.keys() | new.keys() if old.get(id) != new.get(id)]
    return named | {id for row in changed for id in (row.id, getattr(row, "volume_id", row.id))}


def _exclusive(operations: Iterable[Operation], attachments: Iterable[Attachment]) -> frozenset[str]:
    """Attachments of volumes that an operation uses exclusively: their exports follow at the operation's end."""
    taken = {lock.name for each in operations for lock in each.lock_set() if not lock.shared}
    return frozenset(row.id for row in attachments if row.volume_id in taken)
