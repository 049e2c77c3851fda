"""Read QoS specs."""

from nbdsvc.app import App
from nbdsvc.model.entities import QosSpecs, VolumeType
from nbdsvc.model.listing import Page
from nbdsvc.store import qos_specs, repositories
from nbdsvc.store.listing import list_rows


def get_qos_specs(app: App, id: str) -> QosSpecs:
    """The specs. Raises NotFound."""
    with app.database.read() as conn:
        return repositories.qos_specs.get(conn, id)


def list_qos_specs(app: App, page: Page) -> list[QosSpecs]:
    """A page of them. Raises NotFound for the marker."""
    return list_rows(app.database, repositories.qos_specs, None, page=page)


def associations_of(app: App, id: str) -> list[VolumeType]:
    """The volume types that have the specs. Raises NotFound."""
    with app.database.read() as conn:
        repositories.qos_specs.get(conn, id)
        return qos_specs.types_of(conn, id)
