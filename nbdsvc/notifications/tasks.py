"""What a host does for notifications, at intervals."""

from collections.abc import Callable

from nbdsvc.config import Settings
from nbdsvc.notifications import audit, delivery, sinks
from nbdsvc.store.database import Database


def make(settings: Settings, database: Database) -> list[tuple[str, float, Callable[[], None]]]:
    """(name, seconds between two calls, task) of each. ConfigError as of sinks.make."""
    sink = sinks.make(settings)
    delivering = delivery.Delivery(database, settings.host, sink, settings.notification_days)
    found: list[tuple[str, float, Callable[[], None]]] = [("notifications", delivery.LOOK_SECONDS, delivering.look)]
    if settings.notification_audit_hours:
        rows = settings.notification_rows
        auditing = audit.Audit(database, settings.host, settings.notification_audit_hours, rows)
        found.append(("usage audit", audit.LOOK_SECONDS, auditing.look))
    return found
