"""Notifications for whoever meters."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Notifications:
    """Notifications for whoever meters."""

    # Where notifications of what happens to volumes, snapshots, backups and groups go: the absolute path of a file, or
    # stdout (lines of JSON), or the http or https URL of a receiver. Empty: nowhere. All processes of an installation
    # have the same value. See docs/notifications.md.
    notifications: str = ""
    # File of the secret that signs notifications to a URL (openssl rand -hex 32). Only its owner may read it.
    notification_secret_file: Path | None = None
    # File of the certificate authorities for a receiver by https; empty: those of the system.
    notification_ca_file: Path | None = None
    # The most notifications, and the most days, that are kept for a receiver that is away. The oldest go first, and the
    # receiver is notified of the loss.
    notification_rows: int = 10000
    notification_days: float = 7.0
    # Hours of a period of the usage audit (volume.exists); 0: no audit.
    notification_audit_hours: float = 0.0

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        reason = "must be an absolute path, stdout, or an http or https URL without user and password"
        yield Check(not _is_sink(self.notifications), "notifications", reason)
        to_url = "://" in self.notifications
        yield Check(to_url and not self.notification_secret_file, "notification_secret_file", "a URL needs it")
        yield Check(self.notification_rows < 1000, "notification_rows", "must be at least 1000")
        yield Check(self.notification_days <= 0, "notification_days", "must be more than 0")
        wrong = self.notification_audit_hours != 0 and not 1 / 60 <= self.notification_audit_hours <= 8784
        yield Check(wrong, "notification_audit_hours", "must be 0, or from a minute to a year")


def _is_sink(given: str) -> bool:
    if given in ("", "stdout") or given.startswith("/"):
        return True
    try:
        url = urlsplit(given)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.username is None and url.port != 0
    except ValueError:
        return False
