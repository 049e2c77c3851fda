"""Clusters as the API shows them, and whether their hosts take new volumes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.model.entities import Cluster, StorageBackend
from nbdsvc.store import clusters, repositories


@dataclass(frozen=True)
class ClusterReport:
    """A cluster, cluster@backend, and the backends of its hosts."""

    row: Cluster
    members: Sequence[StorageBackend]
    # Hosts whose backend does not report in time, or does not work.
    down: int

    @property
    def is_up(self) -> bool:
        """Whether one of its hosts at least is up."""
        return self.down < len(self.members)

    @property
    def last_heartbeat(self) -> datetime | None:
        """The newest report of a host."""
        return max((each.updated_at for each in self.members if each.updated_at), default=None)

    @property
    def frozen(self) -> bool:
        """Whether nothing may be changed by any of its hosts."""
        return all(each.frozen for each in self.members)

    @property
    def replication_status(self) -> str:
        """What its hosts say; a storage that fails over is none that hosts share."""
        return next((each.replication_status for each in self.members), "disabled")


def list_clusters(app: App, wanted: Callable[[ClusterReport], bool] = lambda _found: True) -> list[ClusterReport]:
    """The clusters that are wanted, oldest first. Raises BackendUnavailable without the database."""
    with app.database.read() as conn:
        found = [_report(app, conn, row) for row in repositories.clusters.select(conn)]
    return [each for each in found if wanted(each)]


def get_cluster(app: App, name: str, binary: str | None = None) -> ClusterReport:
    """The cluster of this name. Raises NotFound."""
    with app.database.read() as conn:
        return _report(app, conn, _get(conn, name, binary))


def enable_cluster(app: App, name: str, binary: str | None = None) -> ClusterReport:
    """Let the hosts of the cluster take new volumes again. Raises NotFound."""
    return _change(app, name, binary, disabled=False, disabled_reason=None)


def disable_cluster(app: App, name: str, binary: str | None = None, reason: str | None = None) -> ClusterReport:
    """Place no new volumes on any host of the cluster. Raises NotFound."""
    return _change(app, name, binary, disabled=True, disabled_reason=reason)


def _change(app: App, name: str, binary: str | None, **changes: object) -> ClusterReport:
    with app.change() as conn:
        row = _get(conn, name, binary)
        repositories.clusters.update(conn, row.id, **changes)
        return _report(app, conn, repositories.clusters.get(conn, row.id))


def _get(conn: sa.Connection, name: str, binary: str | None) -> Cluster:
    found = clusters.find(conn, name)
    if found is None or binary not in (None, found.binary):
        raise errors.NotFound(resource="Cluster", id=name)
    return found


def _report(app: App, conn: sa.Connection, row: Cluster) -> ClusterReport:
    members = clusters.members(conn, row.name)
    return ClusterReport(row, members, sum(not placement.is_up(app, each) for each in members))
