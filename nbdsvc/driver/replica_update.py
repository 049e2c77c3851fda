"""Drivers' updates of replicas, in both spellings that Cinder's documents and code have (trap T4)."""

from collections.abc import Mapping
from typing import Any

from nbdsvc import errors
from nbdsvc.model import states

# Extra specs by which a type requires replicas: the two spellings of version 1, and those of today.
_SPECS = ("replication", "replication_enabled")
# Columns of a volume's row that an update may set. provider_auth is not among them, because rows have no secrets.
_TEXTS = ("replication_status", "replication_extended_status", "replication_driver_data", "provider_id",
          "provider_location")  # fmt: skip
_STATUSES = states.VOLUME_REPLICATION_STATUSES | states.SERVICE_REPLICATION_STATUSES


def is_replicated(extra_specs: Mapping[str, str]) -> bool:
    """Whether volumes of a type with these extra specs have replicas: `replication: <is> True`, also with the scope
    `capabilities:` (trap T4).
    """
    found = (extra_specs.get(scope + name, "") for name in _SPECS for scope in ("", "capabilities:"))
    return any(value.strip().lower() == "<is> true" for value in found)


def replication_columns(update: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a volume's row that an update sets. `driver_data` is `replication_driver_data` (trap T4).

    Raises InternalError, because the driver is at fault, for an unknown status or a value that is no text.
    """
    given = dict(update)
    if "driver_data" in given:
        given.setdefault("replication_driver_data", given["driver_data"])
    status = given.get("replication_status")
    if status is not None and status not in _STATUSES:
        raise errors.InternalError(reason=f"a driver returned the replication status {status}, which there is not")
    found = {name: given[name] for name in _TEXTS if name in given}
    if any(value is not None and not isinstance(value, str) for value in found.values()):
        raise errors.InternalError(reason=f"a driver returned something that is no text for one of {', '.join(found)}")
    return found
