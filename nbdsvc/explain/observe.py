"""Observe: everything that `diff` judges, of this host next to its storage, or of the rows of all hosts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.driver import BackendObject, PoolStats
from nbdsvc.explain import look, rows
from nbdsvc.explain.facts import Claim, Export, Facts, Quota
from nbdsvc.explain.rows import Rows
from nbdsvc.exporter import Exporter, driver_volume_type
from nbdsvc.host import Host
from nbdsvc.model.entities import Attachment, Snapshot, Volume
from nbdsvc.store import claims, hosts, quotas, secrets
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database


def observe(host: Host, late: frozenset[str] = frozenset()) -> Facts:
    """What is on this host, between two readings of the rows. late: backends (host@backend) that do not report in time:
    their drivers hang, and are left alone.
    """
    before = _read(host.database)
    storage = _Storage.of(host, late)
    exports, orphans, transport_faults = _exports(host, before)
    digests, journals = look.look_at_digests(host), look.look_at_journals(host)
    locks, store = look.lock_files(host.locks) if host.locks else [], look.look_at_store(host.vault)
    after = _read(host.database, before.last, host.name)
    alive = [*before.unfinished, *after.operations()]
    taken = rows.lock_names(alive)
    free = [name for name in locks if name not in taken]
    return _facts(
        before,
        after,
        host=host.name,
        late=late,
        busy=rows.busy(before, after),
        configured=frozenset(host.backends),
        objects=storage.objects,
        pools=storage.pools,
        faults=storage.faults,
        exports=exports,
        orphans=orphans,
        transport_faults=transport_faults,
        locks=look.look_at_locks(host.locks, free) if host.locks else (),
        journals=journals,
        live=rows.names_of(alive),
        digests=digests,
        ended=frozenset(id for id, _ in host.ended.items()),
        limits=after.limits,
        devices=tuple(host.devices()),
        store=store,
    )


def observe_exports(host: Host, exporter: Exporter) -> Facts:
    """The exports of one transport, which are looked at periodically: the rows are read once."""
    # Exports are read before rows, so that an export made in between has its row, and does not count as an orphan.
    inventory = exporter.inventory()
    with host.database.read() as conn:
        found = rows.read_exports(conn)
    exports = look.look_at_exports(exporter, inventory.exports, _attachments_here(host, found))
    protocol = driver_volume_type(exporter.protocol)
    return _facts(
        found,
        found,
        host=host.name,
        # Only operations on attachments count: an upload takes hours, in which a target without attachment is removed.
        busy=rows.names_of(found.unfinished) - {volume.id for volume in found.volumes},
        configured=frozenset(host.backends),
        exports=tuple(exports),
        orphans=tuple((protocol, id) for id in inventory.orphans),
        ended=frozenset(id for id, _ in host.ended.items()),
    )


def observe_rows(
    database: Database, limits: dict[str, int], late: frozenset[str], unanswered: Mapping[str, str]
) -> Facts:
    """The rows of all hosts. limits: the quotas of projects that have none of their own. unanswered: see Facts."""
    before = _read(database)
    after = _read(database, before.last)
    with database.read() as conn:
        return _facts(
            before,
            after,
            late=late,
            unanswered=unanswered,
            busy=rows.busy(before, after),
            newest=_newest(conn, after),
            secrets=frozenset(secrets.ended(conn)),
            quotas=tuple(_quotas(conn, after, limits)),
            lost=frozenset(hosts.lost(conn)),
            claims=tuple(Claim(*each) for each in claims.listed(conn)),
        )


def _read(database: Database, after: int | None = None, host: str | None = None) -> Rows:
    with database.read() as conn:
        return rows.read(conn, after, host)


def _facts(before: Rows, after: Rows, **seen: Any) -> Facts:
    return Facts(
        volumes=after.volumes,
        snapshots=after.snapshots,
        attachments=after.attachments,
        backends=after.backends,
        types=after.types | before.types,
        operations=after.unfinished,
        moves=after.moves,
        missing=after.missing,
        groups=after.groups,
        group_snapshots=after.group_snapshots,
        backups=after.backups,
        **seen,
    )


@dataclass
class _Storage:
    objects: dict[str, tuple[BackendObject, ...]] = field(default_factory=dict)
    pools: dict[str, tuple[PoolStats, ...]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, host: Host, late: frozenset[str]) -> "_Storage":
        made = cls()
        for name, backend in host.backends.items():
            if f"{host.name}@{name}" in late:
                continue
            try:
                made.objects[name], made.pools[name] = look.look_at_backend(backend)
            except (errors.Error, OSError) as error:
                made.faults[name] = str(error)
        return made


def _exports(host: Host, found: Rows) -> tuple[tuple[Export, ...], tuple[tuple[str, str], ...], dict[str, str]]:
    """The exports of each transport, its orphans, and why one could not be looked at."""
    exports: list[Export] = []
    orphans: list[tuple[str, str]] = []
    faults: dict[str, str] = {}
    here = _attachments_here(host, found)
    for exporter in host.exporters:
        try:
            inventory = exporter.inventory()
            exports += look.look_at_exports(exporter, inventory.exports, here)
            orphans += [(driver_volume_type(exporter.protocol), id) for id in inventory.orphans]
        except (errors.Error, OSError) as error:
            faults[exporter.protocol] = str(error)
    return tuple(exports), tuple(orphans), faults


def _attachments_here(host: Host, found: Rows) -> list[Attachment]:
    here = {volume.id for volume in found.volumes if volume.host == host.name}
    return [row for row in found.attachments if row.volume_id in here]


def _newest(conn: sa.Connection, found: Rows) -> Mapping[str, Any]:
    """The last failed operation of each row, for the reason."""
    rows: list[Volume | Snapshot] = [*found.volumes, *found.snapshots]
    failed = [row.id for row in rows if row.status.startswith("error")]
    newest = {id: journal.latest_for(conn, id) for id in failed}
    return {id: operation for id, operation in newest.items() if operation}


def _quotas(conn: sa.Connection, found: Rows, defaults: dict[str, int]) -> list[Quota]:
    projects = sorted({row.project_id for row in found.volumes} | {row.project_id for row in found.snapshots})
    return [
        Quota(project, resource, limit, used)
        for project in projects
        for limits, use in [(quotas.limits(conn, project, defaults), quotas.usage(conn, project))]
        for resource, limit in limits.items()
        for used in [use.get(resource, 0)]
        if limit != quotas.UNLIMITED
    ]
