"""Whether the database knows what is on this host: a lost or older database must not end what runs, nor forget volumes.

An object with our mark always has a row: rows are written before their objects, and removed after them. The same holds
for exports. So an object or a running export without a row means that rows were lost, or that the pool is another
installation's; either way the service does not start over it.
"""

from collections.abc import Iterable

from nbdsvc import errors
from nbdsvc.driver import BackendObject
from nbdsvc.exporter import Exporter, LeavingExporter
from nbdsvc.host import Backend, Host
from nbdsvc.store import lost_places, repositories

# Number of ids in the message: enough to recognise the installation, few enough to read.
_NAMED = 3
REFUSE, LEAVE = "refuse", "leave"
_WAY_OUT = (
    "Restore the newest backup of the database, or make new rows with `nbdsvc rebuild --project PROJECT`; if they are "
    "another installation's, name another pool, or set unknown_objects = leave to start and leave them alone"
)


def check_objects(host: Host, backend: Backend) -> None:
    """ConfigError where the backend's pools have objects of ours without a row. Its driver works.

    Looked at twice: another host of the cluster may be removing an object, whose row goes after it.
    """
    if (unknown := unknown_objects(host, backend)) and backend.cluster:
        known = {(each.kind, each.id) for each in unknown_objects(host, backend)}
        unknown = [each for each in unknown if (each.kind, each.id) in known]
    if unknown:
        reason = f"{len(unknown)} volumes and snapshots of nbdsvc in the pool have no row in the database"
        raise errors.ConfigError(setting="database", reason=f"{reason} ({_some(o.name for o in unknown)}). {_WAY_OUT}")


def check_exports(host: Host) -> None:
    """ConfigError where an export serves clients and has no row: the repair of exports would end it."""
    if unknown := unknown_exports(host):
        reason = f"{len(unknown)} exports are in use and have no row in the database ({_some(unknown)})"
        raise errors.ConfigError(setting="database", reason=f"{reason}. {_WAY_OUT}")


def unknown_objects(host: Host, backend: Backend) -> list[BackendObject]:
    """Volumes and snapshots of ours in the backend's pools that have no row."""
    ours = [found for found in backend.driver.list_objects() if found.id and found.owner]
    with host.database.read() as conn:
        # What is there for the time of a backup has its id.
        rows = (repositories.volumes, repositories.snapshots, repositories.moves, repositories.backups)
        known = {str(row.id) for each in rows for row in each.select(conn)}
        known |= lost_places.ids(conn)
    return [found for found in ours if found.id not in known]


def unknown_exports(host: Host) -> list[str]:
    """Ids of those that serve clients; what is dead or half made, export_repair removes."""
    exporters: list[Exporter] = list(host.exporters)
    present = [(exporter, id) for exporter in exporters for id in exporter.inventory().exports]
    # What only says where its volume is serves none; maintenance ends it with its attachment.
    left = {id for each in exporters if isinstance(each, LeavingExporter) for id in each.left()}
    with host.database.read() as conn:
        known = left | {row.id for row in repositories.attachments.select(conn)}
        known |= {row.operation_id for row in repositories.moves.select(conn)}
    return [id for exporter, id in present if id not in known and exporter.health(id).ok]


def _some(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:_NAMED]) + (", ..." if len(shown) > _NAMED else "")
