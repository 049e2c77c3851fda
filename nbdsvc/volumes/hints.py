"""Scheduler hints of a new volume: the other volumes and the instance that they name, looked up."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.model import names
from nbdsvc.scheduler.candidate import Nearness
from nbdsvc.store import repositories, tables


@dataclass(frozen=True)
class SchedulerHints:
    """As the request has them: ids of volumes, and of an instance."""

    same_host: tuple[str, ...] = ()
    different_host: tuple[str, ...] = ()
    local_to_instance: str | None = None


def look_up(conn: sa.Connection, project_id: str | None, hints: SchedulerHints) -> Nearness:
    """The backends and hosts that the hints stand for. project_id: whose volumes may be named; None: every project's.

    Raises NotFound for a volume, and for an instance that has no volume attached at a host that is known.
    """
    same, different = (_backends(conn, project_id, ids) for ids in (hints.same_host, hints.different_host))
    local = hints.local_to_instance
    return Nearness(
        same if hints.same_host else None,
        different,
        None if local is None else _hosts_of(conn, project_id, local),
    )


def _backends(conn: sa.Connection, project_id: str | None, ids: Sequence[str]) -> frozenset[str]:
    found = [repositories.volumes.get(conn, id, project_id) for id in ids]
    return frozenset(names.join_host(volume.host, volume.backend) for volume in found)


def _hosts_of(conn: sa.Connection, project_id: str | None, instance: str) -> frozenset[str]:
    """The hosts at which this instance's volumes are attached: where it runs, as far as we know."""
    columns = tables.attachments.c
    mine = [columns.project_id == project_id] if project_id is not None else []
    rows = repositories.attachments.select(conn, columns.instance_uuid == instance, *mine)
    hosts = {row.attached_host or (row.connector or {}).get("host") for row in rows}
    found = frozenset(str(host) for host in hosts if host)
    if not found:
        raise errors.NotFound(resource="Instance", id=instance)
    return found
