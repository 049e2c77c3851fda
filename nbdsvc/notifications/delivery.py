"""Delivers a host's notifications, one after the other: each host those of its own operations, and of lost hosts."""

import uuid
from datetime import timedelta

import structlog

from nbdsvc.model import clock
from nbdsvc.notifications.contract import Outcome, Sink
from nbdsvc.notifications.messages import message
from nbdsvc.notifications.payloads import time
from nbdsvc.store import hosts, outbox
from nbdsvc.store.database import Database
from nbdsvc.store.outbox import Loss, Undelivered

log = structlog.get_logger(__name__)

# Seconds between two looks for new messages.
LOOK_SECONDS = 1.0
# Messages that are sent and removed together, and seconds of one look: a stop of the service waits for a look.
_BATCH, _MOST_SECONDS = 100, 4.0
# Seconds before a receiver that fails is tried again: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# Seconds between two looks for messages that are too old, and for lost hosts.
_TIDY_SECONDS = 60.0


class Delivery:
    """days: how long a message is kept for a receiver that is away."""

    def __init__(self, database: Database, host: str, sink: Sink, days: float) -> None:
        self._database, self._host, self._sink, self._days = database, host, sink, days
        self._pause, self._not_before, self._tidied = 0.0, 0.0, -_TIDY_SECONDS
        self._loss_not_before = 0.0

    def look(self) -> None:
        """Deliver what is there, as far as the receiver takes it. Called at every LOOK_SECONDS, by one thread."""
        if clock.monotonic() - self._tidied >= _TIDY_SECONDS:
            self._tidy()
        end = clock.monotonic() + _MOST_SECONDS
        while self._not_before <= clock.monotonic() < end and self._deliver():
            pass

    def _tidy(self) -> None:
        self._tidied = clock.monotonic()
        with self._database.write() as conn:
            if lost := [host for host in hosts.lost(conn) if host != self._host]:
                outbox.adopt(conn, lost, self._host)
            removed = outbox.remove_older(conn, self._host, clock.now() - timedelta(days=self._days))
        if removed:
            log.warning("notifications are lost: no receiver took them", count=removed)

    def _deliver(self) -> bool:
        """Whether there may be more."""
        with self._database.read() as conn:
            loss = outbox.loss_of(conn, self._host)
            found = outbox.waiting(conn, self._host, _BATCH)
        if loss and clock.monotonic() >= self._loss_not_before and not self._report(loss):
            return False
        if not found:
            return False
        outcome = self._sink.send([each.message for each in found])
        self._settle(found, outcome)
        return not outcome.fault or outcome.refused

    def _report(self, loss: Loss) -> bool:
        outcome = self._sink.send([_loss_message(self._host, loss)])
        if outcome.delivered:
            with self._database.write() as conn:
                outbox.loss_reported(conn, self._host, loss)
        self._note(outcome)
        if outcome.refused:  # it stays counted, and holds up nothing that waits behind it
            self._loss_not_before = clock.monotonic() + _LONGEST_PAUSE
        return bool(outcome.delivered) or outcome.refused

    def _settle(self, found: list[Undelivered], outcome: Outcome) -> None:
        sequences = [each.sequence for each in found]
        with self._database.write() as conn:
            outbox.delivered(conn, sequences[: outcome.delivered])
            if outcome.refused:
                outbox.refuse(conn, sequences[outcome.delivered : outcome.delivered + 1])
        self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        if not outcome.fault:
            self._pause = 0.0
        elif outcome.refused:
            log.warning("a notification is refused and lost", reason=outcome.fault)
        else:
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
            self._not_before = clock.monotonic() + self._pause
            log.warning("notifications are not delivered", reason=outcome.fault, again_in_seconds=self._pause)


def _loss_message(host: str, loss: Loss) -> dict[str, object]:
    payload = {"host": host, "lost": loss.lost, "oldest": time(loss.oldest), "newest": time(loss.newest)}
    return message("notification.lost", payload, host, str(uuid.uuid4()))
