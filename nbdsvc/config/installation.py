"""Settings of this installation and this host: the state directory, the database, names and zones."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Installation:
    """Settings of this installation and this host: the state directory, the database, names and zones."""

    # The folder of everything that nbdsvc keeps, unless another setting names another place: database, volumes, images,
    # exports, locks.
    state_dir: Path = Path("/var/lib/nbdsvc")
    # SQLAlchemy URL or path of the database; empty: SQLite in state_dir. PostgreSQL: postgresql://USER@/NAME?host=/run/postgresql
    database: str = ""
    # Bytes reserved in a file beside a SQLite database, so that detaches and deletions can be recorded on a full disk;
    # new volumes, snapshots and images are refused when less than the same number of bytes is free besides. 0: no
    # reserve.
    database_reserve: int = 8 << 20
    # Name of this host in `host@backend#pool`; only one process at a time may run under a name.
    host: str = field(default_factory=socket.gethostname)
    # Name of the cluster of hosts to which this one belongs; empty: none. Backends of the same name on hosts of one
    # cluster are one storage that all of them see: each volume is served by one of them, and another takes over when
    # that is lost (docs/services.md). A table [backends.NAME] may name another cluster, or with an empty name none.
    cluster: str = ""
    # Seconds without a heartbeat in the database after which another process may take over this name. A process on the
    # same machine need not wait: it can see that the process before it is dead.
    claim_seconds: float = 10.0
    # Availability zone of this host's storage.
    availability_zone: str = "nova"
    # Zone of a volume whose creation names none; empty: availability_zone.
    default_availability_zone: str = ""
    # Whether a volume whose creation names a zone without a storage host gets the default zone; off: the request is
    # refused.
    allow_availability_zone_fallback: bool = False

    @property
    def database_url(self) -> str:
        return self.database or str(self.state_dir / "nbdsvc.db")

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(not self.host or set(self.host) & set("@#/"), "host", "must be a name without @, # and /")
        yield Check(self.database_reserve < 0, "database_reserve", "must not be negative")
        yield Check(self.claim_seconds <= 0, "claim_seconds", "must be more than 0")
