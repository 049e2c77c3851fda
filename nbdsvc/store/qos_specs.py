"""The rows of QoS specs, and the volume types that they are associated with."""

import sqlalchemy as sa

from nbdsvc.model import qos
from nbdsvc.model.entities import QosSpecs, VolumeType
from nbdsvc.store import repositories, tables

_specs, _types = tables.qos_specs.c, tables.volume_types.c
# One query, because every attach waits for it.
_of_type = (
    sa.select(_specs.consumer, _specs.specs)
    .join_from(tables.volume_types, tables.qos_specs, _types.qos_specs_id == _specs.id)
    .where(_types.id == sa.bindparam("type"))
)
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


def front_end(conn: sa.Connection, volume_type_id: str | None, size: int) -> dict[str, str] | None:
    """What the user of a volume of this type and of `size` GiB has to keep to, which its connection_info says; None where the
    type has nothing of the kind.
    """
    found = conn.execute(_of_type, {"type": volume_type_id}).one_or_none() if volume_type_id else None
    return qos.for_size(found.specs, size) if found and found.consumer != qos.BACK_END else None
