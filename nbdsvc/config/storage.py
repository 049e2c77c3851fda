"""The backends of this host."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Storage:
    """The backends of this host."""

    # The backend: a driver of the entry point group nbdsvc.drivers, its name, and its own settings.
    driver: str = "file"
    backend: str = "file"
    driver_options: dict[str, Any] = field(default_factory=dict)
    # Several backends in place of that one: a table [backends.NAME] each, with driver, exporters (best first: nbd, iscsi),
    # options (the driver's), capabilities (what volume types can ask for besides what it reports), max_copies, copy_rate,
    # copy_cores; see backend_settings.py. Each has its own health, slots and limits.
    # As a variable: NBDSVC_BACKENDS="fast.driver = 'lvm', slow.driver = 'file'".
    backends: dict[str, Any] = field(default_factory=dict)
    # Pool folder of the file driver; empty: state_dir/pool.
    pool: str = ""
    # Volumes in the pool that are marked as nbdsvc's and have no row: the database was lost, or they are another
    # installation's. refuse: do not start. leave: start, and leave them alone.
    unknown_objects: str = "refuse"

    def checks(self) -> Iterator[Check]:
        """What is wrong with these settings, whatever the others are."""
        yield Check(self.unknown_objects not in ("refuse", "leave"), "unknown_objects", "must be refuse or leave")
