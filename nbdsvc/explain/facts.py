"""The input of `diff` as one immutable value, without secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.model import clock
from nbdsvc.model.entities import Attachment, Backup, Move, Snapshot, StorageBackend, Volume
from nbdsvc.model.groups import Group, GroupSnapshot
from nbdsvc.model.operation import Operation


@dataclass(frozen=True)
class Export:
    """An export of this host, or one that an attachment's row requires.

    fault: why it does not serve; None if not checked. present: a part of it exists. noted: the exporter can read its
    note. sessions: the initiators that are logged in; None where the transport does not report them.
    limiting: whether its transport keeps clients to limits, and it serves. limits: these; None where its server does not say.
    """

    protocol: str
    id: str
    present: bool
    noted: bool = True
    fault: str | None = None
    sessions: frozenset[str] | None = None
    limiting: bool = False
    limits: Mapping[str, int] | None = None


@dataclass(frozen=True)
class LockFile:
    """A file of operations/locks.py. holder: the pid that has it locked; 0 for none."""

    name: str
    holder: int


@dataclass(frozen=True)
class Claim:
    """A claim on a host's name. dead: its process was on this machine, and has ended."""

    host: str
    pid: int
    note: str
    dead: bool


@dataclass(frozen=True)
class Quota:
    """A limit of a project, and its use."""

    project_id: str
    resource: str
    limit: int
    used: int


@dataclass(frozen=True)
class Device:
    """A block device of this host that connectors/ made of a volume."""

    volume_id: str
    attachment_id: str
    path: str


@dataclass(frozen=True)
class Store:
    """The store of backups of this host. fault: why it could not be looked at; the rest is empty then.

    manifests: (space, backup) of each that is whole; damaged: (space, chunk) of what was read with another content.
    """

    id: str = ""
    fault: str = ""
    manifests: frozenset[tuple[str, str]] = frozenset()
    damaged: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Facts:
    """The facts of the whole service, or of one host. host: the one that has read its storage; empty for rows alone.

    Rows are those of all hosts; objects, exports and files are those of `host`.
    """

    host: str = ""
    at: datetime = field(default_factory=clock.now)
    late: frozenset[str] = frozenset()
    """Backends (host@backend) whose last report is too old."""

    volumes: tuple[Volume, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    backends: tuple[StorageBackend, ...] = ()
    types: frozenset[str] = frozenset()
    operations: tuple[Operation, ...] = ()
    """The unfinished ones of all hosts."""
    moves: tuple[Move, ...] = ()
    """The second places of volumes that are moved, or were."""
    missing: frozenset[str] = frozenset()
    """Hosts that were declared lost, and have not returned."""
    groups: tuple[Group, ...] = ()
    group_snapshots: tuple[GroupSnapshot, ...] = ()
    backups: tuple[Backup, ...] = ()
    newest: Mapping[str, Operation] = field(default_factory=dict)
    """The last operation, by the id of what it was about: of rows with a status of failure."""
    secrets: frozenset[str] = frozenset()
    """Operations that have ended and still have a secret in the database."""
    busy: frozenset[str] = frozenset()
    """Ids that an operation worked on, or that changed, while this was looked at: nothing is said of them."""

    configured: frozenset[str] = frozenset()
    """Backends of the host's settings."""
    objects: Mapping[str, tuple[BackendObject, ...]] = field(default_factory=dict)
    """By backend; of those that could be listed."""
    pools: Mapping[str, tuple[PoolStats, ...]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    """Backend -> why it could not be looked at."""
    exports: tuple[Export, ...] = ()
    orphans: tuple[tuple[str, str], ...] = ()
    """(transport, id) of what exporters made and have no note of."""
    transport_faults: Mapping[str, str] = field(default_factory=dict)
    """Transport -> why its exports could not be looked at."""
    locks: tuple[LockFile, ...] = ()
    journals: tuple[str, ...] = ()
    """Operations of which there is a copy's journal."""
    live: frozenset[str] = frozenset()
    """Operations that have not ended, or ended a moment ago: those of which files may still be there."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Id -> why its digests cannot be read; empty where they can."""
    ended: frozenset[str] = frozenset()
    """Attachments whose access was ended without a record."""
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Attachment -> the limits that its export is to keep clients to, where there are any."""
    devices: tuple[Device, ...] = ()
    store: Store | None = None
    """None where this host has used none."""

    unanswered: Mapping[str, str] = field(default_factory=dict)
    """Host -> why it did not say what differs there."""
    lost: frozenset[str] = frozenset()
    """Hosts that were declared lost."""
    claims: tuple[Claim, ...] = ()
    quotas: tuple[Quota, ...] = ()
