"""Fields that microversions added to what the API shows of volumes and snapshots, each in one row."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from nbdsvc.api import steps
from nbdsvc.api.steps import Version
from nbdsvc.model.entities import Volume
from nbdsvc.volumes.read import Related


@dataclass(frozen=True)
class Field:
    """`show`: from the row, and what is shown with it that is not in the row."""

    since: Version
    name: str
    show: Callable[[Any, Any], Any]
    admin: bool = False


def added(noun: str, row: Any, related: Any, version: Version, *, admin: bool) -> dict[str, Any]:
    """The fields of a volume's or a snapshot's row that this version has; those for administrators only for one."""
    return {each.name: each.show(row, related) for each in _shown(noun, version, admin)}


@cache  # a list asks for each of its rows
def _shown(noun: str, version: Version, admin: bool) -> tuple[Field, ...]:
    return tuple(each for each in FIELDS[noun] if version >= each.since and (admin or not each.admin))


def _service_uuid(volume: Volume, related: Related) -> str | None:
    return related.service_of(volume)


def _cluster_name(volume: Volume, related: Related) -> str | None:
    return related.cluster_of(volume)


def _type_id(volume: Volume, related: Related) -> str | None:
    return volume.volume_type_id or related.default_type_id


def _never(_row: Any, _related: Any) -> bool:
    return False


def _always(_row: Any, _related: Any) -> bool:
    return True


_VOLUME = (
    # Each export is a server, or a target, of its own volume: initiators need no lock against one another.
    Field(steps.SHARED_TARGETS, "shared_targets", _never),
    Field(steps.SHARED_TARGETS, "service_uuid", _service_uuid),
    Field(steps.CLUSTER_NAME, "cluster_name", _cluster_name, admin=True),
    Field(steps.VOLUME_TYPE_ID, "volume_type_id", _type_id),
    # Every row is a volume of its project; what a migration needs beside it is no row of this table.
    Field(steps.CONSUMES_QUOTA, "consumes_quota", _always),
)
FIELDS = {"volume": _VOLUME, "snapshot": (Field(steps.CONSUMES_QUOTA, "consumes_quota", _always),)}
