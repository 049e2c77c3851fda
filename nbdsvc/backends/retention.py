"""Forget what ended: operations after some days, the journals and spools of their copies at once."""

from datetime import timedelta

from nbdsvc import journaled_copy
from nbdsvc.host import Host
from nbdsvc.model import clock
from nbdsvc.store import operations as journal
from nbdsvc.store import secrets


def forget_operations(host: Host, days: float) -> int:
    """Delete the rows of operations that ended more than `days` ago; returns how many."""
    journaled_copy.remove_stale_journals(host)
    if not host.database.scrubbed:
        with host.database.write() as conn:
            secrets.sweep(conn)
        host.database.scrub()
    host.images.sweep()
    with host.database.write() as conn:
        return journal.purge(conn, host.name, clock.now() - timedelta(days=days))
