"""Let services take up what is unfinished (workers/cleanup).

Nothing has to be cleaned up after a process that died: an operation is in the journal until it has ended, and the engine of
its host, which is the only one that may run it, takes it up by itself, at its start and whenever it looks. So this wakes the
engines of hosts that are up, and says which hosts are down: their work waits for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc.app import App
from nbdsvc.backends.services import ServiceReport, list_services
from nbdsvc.model import names
from nbdsvc.operations.journal import CHANNEL
from nbdsvc.store import repositories

VOLUME, SNAPSHOT = "Volume", "Snapshot"


@dataclass(frozen=True)
class CleanUpRequest:
    """Which services; None: any."""

    host: str | None = None
    """A host, or host@backend."""
    binary: str | None = None
    service_id: str | None = None
    is_up: bool | None = None
    disabled: bool | None = None
    cluster_name: str | None = None
    """cluster@backend, of which each host takes up its own work."""
    resource_id: str | None = None
    """A volume or snapshot: the service that holds it."""
    resource_type: str | None = None
    """Volume or Snapshot; None: either."""


@dataclass(frozen=True)
class CleanUpReport:
    """The services that take up their work, and those that are down."""

    cleaning: Sequence[ServiceReport]
    unavailable: Sequence[ServiceReport]


def clean_up(app: App, request: CleanUpRequest) -> CleanUpReport:
    """Wake the services that are up. What there is not is an empty report, as in Cinder."""
    with app.change() as conn:
        where = _place(conn, request)
        found = [each for each in list_services(app) if _is_meant(each, request, where)]
        app.database.notify(conn, CHANNEL)
    return CleanUpReport([each for each in found if each.is_up], [each for each in found if not each.is_up])


def _place(conn: sa.Connection, request: CleanUpRequest) -> str | None:
    """host@backend of the resource; None where none is named, empty where there is no such resource."""
    if request.resource_id is None:
        return None
    id = request.resource_id
    snapshot = repositories.snapshots.find(conn, id) if request.resource_type != VOLUME else None
    if snapshot is None and request.resource_type == SNAPSHOT:
        return ""
    volume = repositories.volumes.find(conn, snapshot.volume_id if snapshot else id)
    return names.join_host(volume.host, volume.backend) if volume else ""


def _is_meant(service: ServiceReport, request: CleanUpRequest, where: str | None) -> bool:
    return (
        service.matches(request.host, request.binary)
        and where in (None, service.name)
        and request.cluster_name in (None, service.row.cluster_name)
        and request.service_id in (None, service.row.id)
        and request.is_up in (None, service.is_up)
        and request.disabled in (None, service.row.disabled)
    )
