"""Forget what ended: operations after some days, the journals and spools of their copies at once."""

from collections.abc import Sequence
from datetime import timedelta

from nbdsvc import journaled_copy
from nbdsvc.host import Host
from nbdsvc.model import clock
from nbdsvc.store import operations as journal
from nbdsvc.store import secrets

# Much longer than a client waits for the answer.
ANSWER_MINUTES = 10


def forget_answers(host: Host, types: Sequence[str]) -> int:
    """Delete the rows of ephemeral operations (of these types) that ended ten minutes ago; returns how many."""
    with host.database.write() as conn:
        return journal.purge_answers(conn, host.name, types, clock.now() - timedelta(minutes=ANSWER_MINUTES))


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
