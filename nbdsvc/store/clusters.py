"""Clusters: backends of one name on several hosts that are one storage; and who has taken over what of a lost host.

A cluster's row says which storage that is, by what the first host found there. A host joins before it reports; it is a
member as long as the row of its backend names the cluster.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Cluster, StorageBackend
from nbdsvc.store import backends, group_tables, host_tables, hosts, repositories, tables
from nbdsvc.store.database import Database

_b = tables.backends.c
_t = host_tables.take_overs.c
_one = tables.backends.alias()
_hosts_of = (
    sa.select(_b.host)
    .join(_one, sa.and_(_one.c.name == _b.name, _one.c.cluster == _b.cluster, _one.c.cluster != ""))
    .where(_one.c.host == sa.bindparam("host"), _one.c.name == sa.bindparam("backend"))
    .order_by(_b.host)
)
_named = repositories.clusters.query(host_tables.clusters.c.name == sa.bindparam("name"))
_heir = sa.select(_t.by).where(_t.host == sa.bindparam("host"), _t.backend == sa.bindparam("backend"))


def find(conn: sa.Connection, name: str) -> Cluster | None:
    """The cluster of the name cluster@backend."""
    found = repositories.clusters.run(conn, _named, name=name)
    return found[0] if found else None


def members(conn: sa.Connection, name: str) -> list[StorageBackend]:
    """The backends that are the storage of cluster@backend, by host."""
    cluster, backend, _pool = names.split_host(name)
    found = repositories.backends.select(conn, _b.cluster == cluster, _b.name == backend) if cluster else []
    return sorted(found, key=lambda row: row.host)


def hosts_of(conn: sa.Connection, host: str, backend: str) -> list[str]:
    """The hosts that see the storage of this host's backend, itself too."""
    return list(conn.scalars(_hosts_of, {"host": host, "backend": backend})) or [host]


def is_same_storage(conn: sa.Connection, one: str, other: str) -> bool:
    """Whether two pools, host@backend#pool, are one storage: the same, or of one cluster."""
    (host, *place), (other_host, *other_place) = names.split_host(one), names.split_host(other)
    return place == other_place and other_host in hosts_of(conn, host, place[0])


def join(
    database: Database, conn: sa.Connection, member: StorageBackend, driver: str, storage: Mapping[str, str]
) -> None:
    """Let the backend be one of its cluster, with this driver and the identity of each of its pools.

    member: as it is to be in the database, where it may have a row already. Raises Conflict where its storage is not that
    of the cluster's other hosts, or is another cluster's too, and where a pool with volumes of its own is not what it was.
    """
    database.lock_name(conn, "clusters")  # of two that come at once, the second compares itself with the first
    name = str(member.cluster_name)
    _become_member(conn, member)
    _forget_empty(conn)
    _check_elsewhere(conn, name, storage)
    known = find(conn, name)
    others = [row for row in members(conn, name) if row.host != member.host]
    if known is None:
        repositories.clusters.insert(conn, Cluster(names.new_id(), name, driver, dict(storage)))
    elif others:
        _check_same(known, driver, storage, [row.host for row in others])
        _describe(conn, known, driver, {**known.storage, **storage})
    else:
        _check_kept(conn, known, member, storage)
        _describe(conn, known, driver, dict(storage))


def _become_member(conn: sa.Connection, member: StorageBackend) -> None:
    found = backends.find(conn, member.full_name)
    if found is None:
        repositories.backends.insert(conn, member)
    elif found.cluster != member.cluster:
        repositories.backends.update(conn, found.id, cluster=member.cluster, updated_at=found.updated_at)


def _forget_empty(conn: sa.Connection) -> None:
    """Clusters that their last host has left."""
    for row in repositories.clusters.select(conn):
        if not members(conn, row.name):
            repositories.clusters.delete(conn, row.id)


def _check_elsewhere(conn: sa.Connection, name: str, storage: Mapping[str, str]) -> None:
    for row in repositories.clusters.select(conn):
        for pool, identity in row.storage.items():
            mine = [own for own, known in storage.items() if known == identity and (row.name, pool) != (name, own)]
            if mine:
                raise errors.Conflict(
                    reason=f"pool {mine[0]} of {name} is the storage of {row.name}#{pool} too: one storage has one name"
                )


def _check_same(known: Cluster, driver: str, storage: Mapping[str, str], others: list[str]) -> None:
    there = f"on {', '.join(others)}"
    if known.driver != driver:
        raise errors.Conflict(reason=f"cluster {known.name} has driver {known.driver} {there}, and {driver} here")
    for pool, identity in storage.items():
        if known.storage.get(pool, identity) != identity:
            raise errors.Conflict(
                reason=f"pool {pool} of cluster {known.name} is storage {known.storage[pool]} {there}, and {identity} here: "
                "mount the same one, or name another cluster"
            )


def _check_kept(conn: sa.Connection, known: Cluster, member: StorageBackend, storage: Mapping[str, str]) -> None:
    """Where the folder of a pool is not mounted, the driver has made a new pool in its place."""
    for pool in sorted(backends.pools_in_use(conn, member.host, member.name)):
        before = known.storage.get(pool)
        if before is not None and storage.get(pool, before) != before:
            raise errors.Conflict(
                reason=f"pool {pool} of cluster {known.name}, in which host {member.host} has volumes, was storage {before}, "
                f"and is {storage[pool]} now: mount the same one"
            )


def _describe(conn: sa.Connection, known: Cluster, driver: str, storage: dict[str, str]) -> None:
    if (known.driver, known.storage) != (driver, storage):
        repositories.clusters.update(conn, known.id, driver=driver, storage=storage)


def disabled(conn: sa.Connection) -> frozenset[str]:
    """Names, cluster@backend, of those that get no new volumes."""
    found = repositories.clusters.select(conn, host_tables.clusters.c.disabled)
    return frozenset(row.name for row in found)


def awaits_take_over(conn: sa.Connection, host: str, backend: str) -> bool:
    """Whether the volumes of a lost host's backend are to be taken over: another host sees their storage and is not lost."""
    row = backends.find(conn, names.join_host(host, backend))
    others = hosts_of(conn, host, row.name) if row else []
    return any(other != host and not hosts.is_lost(conn, other) for other in others)


def heir(conn: sa.Connection, host: str, backend: str) -> str | None:
    """The host that has taken over the volumes of this backend; None where none has."""
    row = backends.find(conn, names.join_host(host, backend))
    found = conn.execute(_heir, {"host": host, "backend": row.name}).scalar() if row else None
    return str(found) if found is not None else None


def take_over(conn: sa.Connection, host: str, backend: str, by: str) -> None:
    """Note that `by` has taken over the backend of the lost host: what is left there, or comes later, goes to it."""
    same = (_t.host == host, _t.backend == backend)
    values: dict[str, Any] = {"by": by, "at": clock.now()}
    if not conn.execute(host_tables.take_overs.update().where(*same).values(**values)).rowcount:
        conn.execute(host_tables.take_overs.insert().values(host=host, backend=backend, **values))


def forget_take_overs(conn: sa.Connection, host: str) -> None:
    """The host returns: what is submitted to it from now on is its own."""
    conn.execute(host_tables.take_overs.delete().where(_t.host == host))


def move_rows(conn: sa.Connection, host: str, backend: str, by: str, except_ids: Iterable[str] = ()) -> int:
    """Let the volumes of a host's backend, second places of volumes, and groups be at host `by`; how many volumes."""
    places = backends.names_in_rows(conn, host, backend)
    kept, counts = list(except_ids), {}
    for table in (
        group_tables.groups,
        tables.volumes,
        tables.moves,
    ):  # as a request holds them: a group before its volumes
        here = (table.c.host == host, table.c.backend.in_(places), table.c.id.not_in(kept))
        # In the order of Repository.hold.
        conn.execute(sa.select(table.c.id).where(*here).order_by(table.c.id).with_for_update()).all()
        moved = table.update().where(*here).values(host=by, backend=backend, updated_at=clock.now())
        counts[table] = conn.execute(moved).rowcount
    return counts[tables.volumes]
