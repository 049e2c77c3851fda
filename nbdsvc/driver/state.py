"""What a driver wants to have kept of an object, and gets back with every later call."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.driver.replica_update import replication_columns

# Rows are read with every list of volumes: this is for ids and addresses, not for a driver's own book-keeping.
MAX_NAME = 255
MAX_DATA = 4096


@dataclass(frozen=True)
class ProviderState:
    """What identifies an object for its backend, kept in the row of its volume or snapshot (S064, S083).

    provider_id, provider_location: at most 255 characters. driver_data: JSON of at most 4096 bytes. Never a secret:
    rows are in backups of the database, and provider_id is shown to administrators. ValueError for what is too long.
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
        """The values of the columns of a row."""
        data = None if self.driver_data is None else dict(self.driver_data)
        return {
            "provider_id": self.provider_id,
            "provider_location": self.provider_location,
            "driver_data": data,
            **(replication_columns(self.replication) if self.replication else {}),
        }
