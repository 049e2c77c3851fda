"""The rows of QoS specs, and the volume types that they are associated with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from nbdsvc.model import qos
from nbdsvc.model.entities import QosSpecs, VolumeType
from nbdsvc.store import repositories, tables

_specs, _types, _volumes = tables.qos_specs.c, tables.volume_types.c, tables.volumes.c
_attachments = tables.attachments.c
# One query, because every attach waits for it.
_of_type = (
    sa.select(_specs.consumer, _specs.specs)
    .join_from(tables.volume_types, tables.qos_specs, _types.qos_specs_id == _specs.id)
    .where(_types.id == sa.bindparam("type"))
)
_SIZES = (_volumes.size, _volumes.target_size, _volumes.status)
_limited = (
    tables.volumes.join(tables.volume_types, _types.id == _volumes.volume_type_id)
    .join(tables.qos_specs, _specs.id == _types.qos_specs_id)
)  # fmt: skip
_of_volume = (
    sa.select(_specs.consumer, _specs.specs, *_SIZES).select_from(_limited).where(_volumes.id == sa.bindparam("volume"))
)
_exported = tables.attachments.join(_limited, _attachments.volume_id == _volumes.id)
_here = (
    sa.select(_attachments.id, _specs.consumer, _specs.specs, *_SIZES)
    .select_from(_exported)
    .where(_volumes.host == sa.bindparam("host"))
)


@dataclass(frozen=True)
class Limits:
    """What users of a volume keep to by themselves (None: nothing), and what its exports keep them to."""

    front_end: dict[str, str] | None = None
    back_end: dict[str, int] = field(default_factory=dict)


_of_specs = repositories.volume_types.query(tables.volume_types.c.qos_specs_id == sa.bindparam("specs"))


def types_of(conn: sa.Connection, id: str) -> list[VolumeType]:
    """The volume types that the specs are associated with."""
    return repositories.volume_types.run(conn, _of_specs, specs=id)


def of_type(conn: sa.Connection, volume_type: VolumeType | None) -> QosSpecs | None:
    """The specs of a type; None where it has none."""
    if volume_type is None or volume_type.qos_specs_id is None:
        return None
    return repositories.qos_specs.find(conn, volume_type.qos_specs_id)


def demands(conn: sa.Connection, volume_type: VolumeType | None) -> dict[str, Any]:
    """The fields of a scheduler's Request that come of a type's specs, whoever consumes them."""
    found = of_type(conn, volume_type)
    return {"qos": found.specs, "limited": bool(qos.limits(found.consumer, found.specs, 1))} if found else {}


def limits_of(conn: sa.Connection, volume_id: str) -> Limits:
    """The limits of a volume by its row and its type, in one query."""
    row = conn.execute(_of_volume, {"volume": volume_id}).one_or_none()
    if row is None:
        return Limits()
    front = qos.for_size(row.specs, row.size) if row.consumer != qos.BACK_END else None
    return Limits(front, _back_end(row))


def limits_on(conn: sa.Connection, host: str) -> dict[str, dict[str, int]]:
    """Attachment -> the limits that its export keeps to: of those of a host's volumes that have any. Also of one that is
    being connected, whose export is there before its row says so.
    """
    found = {row.id: _back_end(row) for row in conn.execute(_here, {"host": host})}
    return {id: limits for id, limits in found.items() if limits}


def _back_end(row: Any) -> dict[str, int]:
    """A volume that is being extended has its new size already, because its export may be limited before the end."""
    size = row.target_size if row.status == "extending" and row.target_size else row.size
    return qos.limits(row.consumer, row.specs, size)


def exported(conn: sa.Connection, types: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """(volume, host, transport) of every attachment of volumes of these types that is exported, or is being connected."""
    query = (
        sa.select(_volumes.id, _volumes.host, _attachments.protocol)
        .join_from(tables.attachments, tables.volumes, _attachments.volume_id == _volumes.id)
        .where(_attachments.exported | (_attachments.status == "attaching"), _volumes.volume_type_id.in_(types))
        .order_by(_volumes.id)
    )
    return [tuple(row) for row in conn.execute(query)]


def front_end(conn: sa.Connection, volume_type_id: str | None, size: int) -> dict[str, str] | None:
    """What the user of a volume of this type and of `size` GiB has to keep to, which its connection_info says; None where the
    type has nothing of the kind.
    """
    found = conn.execute(_of_type, {"type": volume_type_id}).one_or_none() if volume_type_id else None
    return qos.for_size(found.specs, size) if found and found.consumer != qos.BACK_END else None
