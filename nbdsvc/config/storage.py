"""The backends of this host."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Storage:
    """The backends of this host."""

    # The backend: its driver (of the entry point group nbdsvc.drivers), the backend's name, and the driver's own
    # options.
    driver: str = "file"
    backend: str = "file"
    driver_options: dict[str, Any] = field(default_factory=dict)
    # Several backends in place of that one: a table [backends.NAME] each, with driver, exporters (best first: nbd,
    # iscsi), options (the driver's), capabilities (which volume types can require besides those that the driver
    # reports), max_copies, copy_rate, copy_cores; see backend_settings.py. Each backend has its own health, slots and
    # limits. As an environment variable: NBDSVC_BACKENDS="fast.driver = 'lvm', slow.driver = 'file'".
    backends: dict[str, Any] = field(default_factory=dict)
    # Pool folder of the file driver; empty: state_dir/pool.
    pool: str = ""
    # What to do when the pool has volumes that are marked as nbdsvc's and have no row, because the database was lost or
    # they belong to another installation. refuse: the backend does not start. leave: it starts, and does not touch
    # them.
    unknown_objects: str = "refuse"

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.unknown_objects not in ("refuse", "leave"), "unknown_objects", "must be refuse or leave")
