"""The rows of QoS specs, and the volume types that they are associated with."""

import sqlalchemy as sa

from nbdsvc.model import qos
from nbdsvc.model.entities import QosSpecs, Volume, VolumeType
from nbdsvc.store import repositories, tables

_of_specs = repositories.volume_types.query(tables.volume_types.c.qos_specs_id == sa.bindparam("specs"))


def types_of(conn: sa.Connection, id: str) -> list[VolumeType]:
    """The volume types that the specs are associated with."""
    return repositories.volume_types.run(conn, _of_specs, specs=id)


def of_type(conn: sa.Connection, volume_type: VolumeType | None) -> QosSpecs | None:
    """The specs of a type; None where it has none."""
    if volume_type is None or volume_type.qos_specs_id is None:
        return None
    return repositories.qos_specs.find(conn, volume_type.qos_specs_id)


def specs_of(conn: sa.Connection, volume_type: VolumeType | None) -> dict[str, str]:
    """The keys and values of a type's specs, whoever consumes them."""
    found = of_type(conn, volume_type)
    return found.specs if found else {}


def front_end(conn: sa.Connection, volume: Volume) -> dict[str, str] | None:
    """What the volume's user has to keep to, which its connection_info says; None where its type has nothing of the kind."""
    found = of_type(conn, repositories.volume_types.find(conn, volume.volume_type_id or ""))
    return qos.for_size(found.specs, volume.size) if found and found.consumer != qos.BACK_END else None
