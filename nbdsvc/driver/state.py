"""The state of an object that a driver returns, and gets again with every later call."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.driver.replica_update import replication_columns

# Bytes. Rows are read with every list of volumes, so the field is for ids and addresses, not for a driver's metadata.
MAX_NAME = 255
MAX_DATA = 4096


@dataclass(frozen=True)
class ProviderState:
    """The values by which a backend identifies an object, stored in the row of its volume or snapshot (S064, S083).

    provider_id, provider_location: at most 255 characters. driver_data: JSON of at most 4096 bytes. Never a secret:
    backups of the database have the rows, and administrators see provider_id. Raises ValueError for too long a value.
    """

    provider_id: str | None = None
    provider_location: str | None = None
    driver_data: Mapping[str, Any] | None = field(default=None, hash=False)
    replication: Mapping[str, Any] | None = field(default=None, hash=False)
    """Of a volume that has a replica: `replication_status`, `replication_extended_status`, `replication_driver_data`."""

    def __post_init__(self) -> None:
        for name, value in (("provider_id", self.provider_id), ("provider_location", self.provider_location)):
            if value is not None and len(value) > MAX_NAME:
                raise ValueError(f"{name} has {len(value)} characters, and may have {MAX_NAME}")
        size = len(json.dumps(self.driver_data))
        if size > MAX_DATA:
            raise ValueError(f"driver_data has {size} bytes as JSON, and may have {MAX_DATA}")

    def columns(self) -> dict[str, Any]:
        """The values by the names of the row's columns."""
        data = None if self.driver_data is None else dict(self.driver_data)
        return {
            "provider_id": self.provider_id,
            "provider_location": self.provider_location,
            "driver_data": data,
            **(replication_columns(self.replication) if self.replication else {}),
        }
