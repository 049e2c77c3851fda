"""Read volumes: one, a page of a project's, and what is shown together with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from nbdsvc.app import App, owner_scope, scope
from nbdsvc.model.context import Context
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.model.groups import CG_TYPE_ID
from nbdsvc.model.listing import Filter, Page
from nbdsvc.store import groups, repositories
from nbdsvc.store.backends import Member, members
from nbdsvc.store.listing import count_rows, list_rows
from nbdsvc.types.queries import type_names


@dataclass(frozen=True)
class Related:
    """Attributes shown with volumes that are not in their rows."""

    attachments: Mapping[str, list[Attachment]]
    """By the volume's id; none for a volume without attachments."""
    type_names: Mapping[str, str]
    """By the type's id."""
    default_type: str
    """Name of the type of a volume whose row names none."""
    default_type_id: str = ""
    services: Mapping[tuple[str, str], Member] = field(default_factory=dict)
    """By host and backend."""
    consistency_groups: frozenset[str] = frozenset()
    """The ids of those groups that belong to the older API."""

    def attachments_of(self, volume: Volume) -> list[Attachment]:
        """The attachments of one of the volumes."""
        return self.attachments.get(volume.id, [])

    def type_of(self, volume: Volume) -> str:
        """The name of its type."""
        return self.type_names.get(volume.volume_type_id or "", self.default_type)

    def service_of(self, volume: Volume) -> str | None:
        """The id of the service that serves it; None while its backend has not reported."""
        found = self.services.get((volume.host, volume.backend))
        return found.id if found else None

    def cluster_of(self, volume: Volume) -> str | None:
        """cluster@backend of the hosts that see its storage; None where its own host alone does."""
        found = self.services.get((volume.host, volume.backend))
        return found.cluster_name if found else None


def get_volume(app: App, context: Context, id: str) -> Volume:
    """The volume; an administrator's of any project. Raises NotFound."""
    with app.database.read() as conn:
        return repositories.volumes.get(conn, id, owner_scope(context))


def list_volumes(
    app: App,
    context: Context,
    filters: Sequence[Filter] = (),
    page: Page | None = None,
    *,
    all_tenants: bool = False,
) -> list[Volume]:
    """The project's volumes that match all filters, or a page of them.

    With `all_tenants`, for an administrator, those of every project. Raises InvalidInput for a filter's value, NotFound for
    the marker.
    """
    return list_rows(app.database, repositories.volumes, scope(context, all_tenants), filters, page)


def count_volumes(app: App, context: Context, filters: Sequence[Filter] = (), *, all_tenants: bool = False) -> int:
    """The number of volumes on all pages of `list_volumes`. Raises InvalidInput for a filter's value."""
    return count_rows(app.database, repositories.volumes, scope(context, all_tenants), filters)


def related_to(app: App, volumes: Sequence[Volume]) -> Related:
    """Attachments and type names of many volumes, by as many queries as for one.

    Raises BackendUnavailable without the database.
    """
    with app.database.read() as conn:
        return related_in(app, conn, volumes)


def related_in(app: App, conn: sa.Connection, volumes: Sequence[Volume]) -> Related:
    """As `related_to`, in a transaction that the caller has open."""
    by_volume: dict[str, list[Attachment]] = {}
    attached = repositories.attachments_of(conn, *(volume.id for volume in volumes)) if volumes else []
    names, default = type_names(app, conn)
    services = members(conn) if volumes else {}
    for attachment in attached:
        by_volume.setdefault(attachment.volume_id, []).append(attachment)
    grouped = {volume.group_id for volume in volumes if volume.group_id is not None}
    older = groups.consistency_groups(conn, grouped, CG_TYPE_ID)
    return Related(by_volume, names, default.name, default.id, services, older)
