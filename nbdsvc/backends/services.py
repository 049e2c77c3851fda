"""The services, one for each backend of a host: list them, let them take new volumes or not."""

from dataclasses import dataclass

import sqlalchemy as sa

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.model.entities import StorageBackend
from nbdsvc.store import backends, repositories


@dataclass(frozen=True)
class ServiceReport:
    """A service, which is a backend of a host, and its last report."""

    row: StorageBackend
    # Whether the backend reported in time and its driver works.
    is_up: bool
    # Whether its driver works and at least one pool serves, as of its last report.
    backend_is_up: bool = False

    @property
    def name(self) -> str:
        """host@backend, as clients name a service."""
        return self.row.full_name

    @property
    def findings(self) -> list[tuple[str, str]]:
        """(thing, reason) of what the backend lacks."""
        return [(each["thing"], each["reason"]) for each in self.row.capabilities.get("findings", [])]

    def matches(self, host: str | None, binary: str | None) -> bool:
        """Whether the service is on `host` (a host's name, or host@backend) and is `binary`; None: any."""
        return host in (None, self.row.host, self.name) and binary in (None, self.row.binary)


def list_services(app: App) -> list[ServiceReport]:
    """All services, oldest first. Raises BackendUnavailable without the database."""
    with app.database.read() as conn:
        pools = backends.all_pools(conn)
        return [
            ServiceReport(
                row,
                placement.is_up(app, row),
                row.working and any(not pool.fault for pool in pools.get(row.id, [])),
            )
            for row in repositories.backends.select(conn)
        ]


def enable_service(app: App, host: str, binary: str | None) -> None:
    """Let a backend, or all of a host, take new volumes again. Raises NotFound."""
    _change(app, host, binary, disabled=False, disabled_reason=None)


def disable_service(app: App, host: str, binary: str | None, reason: str | None = None) -> None:
    """Place no new volumes on a backend, or on all of a host; without `reason` the last one stays. Raises NotFound."""
    _change(app, host, binary, disabled=True, **({} if reason is None else {"disabled_reason": reason}))


def matching(conn: sa.Connection, host: str, binary: str | None = None) -> list[StorageBackend]:
    """The services of `host` (a host's name: all of its backends, or host@backend), oldest first. No other transaction
    changes them until this one ends.
    """
    return repositories.backends.hold(conn, [row.id for row in seen(conn, host, binary)])


def seen(conn: sa.Connection, host: str, binary: str | None = None) -> list[StorageBackend]:
    """As `matching`, but others may change them. For what holds volumes, too: requests hold these before their backend."""
    return [row for row in repositories.backends.select(conn) if ServiceReport(row, is_up=False).matches(host, binary)]


def is_on(place: str, host: str) -> bool:
    """Whether `host@backend#pool` is on `host`, which is a host's name or host@backend."""
    return place.partition("@")[0] == host or place.partition("#")[0] == host


def change(conn: sa.Connection, row: StorageBackend, **changes: object) -> None:
    """Change columns of a service. Its updated_at stays: that is the time of its backend's last report."""
    repositories.backends.update(conn, row.id, **changes, updated_at=row.updated_at)


def _change(app: App, host: str, binary: str | None, **changes: object) -> None:
    with app.change() as conn:
        found = matching(conn, host, binary)
        if not found:
            raise errors.NotFound(resource=f"Service {binary or ''} on host".replace("  ", " "), id=host)
        for row in found:
            change(conn, row, **changes)
