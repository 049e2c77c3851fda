"""Fail a backend over to a replication target (os-services/failover_host)."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.backends.services import list_services

# The statuses of a backend's replication that Cinder fails over from.
SOURCES = ("enabled", "failed-over")


def failover_backend(app: App, host: str) -> None:
    """Refuse: InvalidInput, because no driver of this version replicates; NotFound for a host that there is not."""
    found = [service for service in list_services(app) if service.matches(host, None)]
    if not found:
        raise errors.NotFound(resource="Service on host", id=host)
    status = found[0].row.replication_status
    reason = f"Host replication_status must be {' or '.join(SOURCES)} to failover; that of {host} is {status}"
    raise errors.InvalidInput(field="host", value=host[:80], reason=reason)
