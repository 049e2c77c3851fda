"""The use of a backend by each project."""

from collections import defaultdict
from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.services import list_services
from nbdsvc.model import names
from nbdsvc.store import repositories, tables


@dataclass
class Usage:
    """Volumes and snapshots of a project; sizes in GiB."""

    volumes: int = 0
    volume_size: int = 0
    snapshots: int = 0
    snapshot_size: int = 0

    def add_volume(self, size: int) -> None:
        """Count a volume of `size` GiB."""
        self.volumes, self.volume_size = self.volumes + 1, self.volume_size + size

    def add_snapshot(self, size: int) -> None:
        """Count a snapshot of a volume of `size` GiB."""
        self.snapshots, self.snapshot_size = self.snapshots + 1, self.snapshot_size + size


def _is_there(host: str) -> list["sa.ColumnElement[bool]"]:
    name, backend, _pool = names.split_host(host)
    column = tables.volumes.c
    return [column.host == name] + ([column.backend == backend] if backend else [])


def usage_of_host(app: App, host: str) -> tuple[Usage, dict[str, Usage]]:
    """The total of `host@backend`, or of all backends of a host, and the usage of each project there. Raises NotFound."""
    if not any(service.matches(host, None) for service in list_services(app)):
        raise errors.NotFound(resource="Host", id=host)
    with app.database.read() as conn:
        volumes = {row.id: row for row in repositories.volumes.select(conn, *_is_there(host))}
        snapshots = [row for row in repositories.snapshots.select(conn) if row.volume_id in volumes]
    total, projects = Usage(), defaultdict[str, Usage](Usage)
    for volume in volumes.values():
        total.add_volume(volume.size)
        projects[volume.project_id].add_volume(volume.size)
    for snapshot in snapshots:
        total.add_snapshot(snapshot.volume_size)
        projects[snapshot.project_id].add_snapshot(snapshot.volume_size)
    return total, dict(projects)
