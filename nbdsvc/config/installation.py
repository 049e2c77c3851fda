"""This installation and this host: where everything is kept, the database, names and zones."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Installation:
    """This installation and this host: where everything is kept, the database, names and zones."""

    # Everything that nbdsvc keeps, unless said otherwise: database, volumes, images, exports, locks.
    state_dir: Path = Path("/var/lib/nbdsvc")
    # SQLAlchemy URL or path of the database; empty: SQLite in state_dir. PostgreSQL: postgresql://USER@/NAME?host=/run/postgresql
    database: str = ""
    # Bytes kept back beside a SQLite database, so that detaches and deletions can be recorded on a full disk; new volumes,
    # snapshots and images are refused when less than this is free besides. 0: nothing.
    database_reserve: int = 8 << 20
    # Name of this host in `host@backend#pool`; one process a name.
    host: str = field(default_factory=socket.gethostname)
    # Seconds without a heartbeat in the database after which another process may take over this name. A killed process of the
    # same machine is known to be dead at once.
    claim_seconds: float = 10.0
    # Availability zone of this host's storage.
    availability_zone: str = "nova"
    # Zone of a volume whose creation names none; empty: availability_zone.
    default_availability_zone: str = ""
    # Whether a creation that names a zone without a storage host gets the default zone; off: it is refused.
    allow_availability_zone_fallback: bool = False

    @property
    def database_url(self) -> str:
        return self.database or str(self.state_dir / "nbdsvc.db")

    def checks(self) -> Iterator[Check]:
        """What is wrong with these settings, whatever the others are."""
        yield Check(not self.host or set(self.host) & set("@#/"), "host", "must be a name without @, # and /")
        yield Check(self.database_reserve < 0, "database_reserve", "must not be negative")
        yield Check(self.claim_seconds <= 0, "claim_seconds", "must be more than 0")
