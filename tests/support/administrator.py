"""An administrator at work on a fleet while a block runs: backends are frozen, evacuated and failed over, and come back."""

import contextlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fleet import BACKEND, REPLICATED, Fleet
from load import Owner
from load_replicated import Replicating
from waiting import wait_until

from nbdsvc import errors

# Seconds between two chores, and those that a chore waits for the end of what it began.
PAUSE, PATIENCE = 1.0, 0.5
_FAR, _BACK = "far", "default"
_OVER, _HOME = "failed-over", "enabled"


class Administrator:
    """done: how often each chore was accepted."""

    def __init__(self, fleet: Fleet, owners: list[Owner]) -> None:
        self.done: dict[str, int] = {}
        self._fleet = fleet
        self._replicating = [owner for owner in owners if isinstance(owner, Replicating)]
        self._dice = random.Random(5)
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._work, name="administrator", daemon=True)

    def __str__(self) -> str:
        return ", ".join(f"{count} x {verb}" for verb, count in sorted(self.done.items()))

    def end(self) -> None:
        """Everything is in service again when this returns."""
        self._ended.set()
        self.thread.join()
        if self._fleet.replicates:
            wait_until(self._fail_over_and_home, 120, self._services)
        wait_until(self._restored, 120, self._services)

    def _work(self) -> None:
        chores = [self._freeze, self._evacuate, *([self._fail_over] if self._fleet.replicates else [])]
        while not self._ended.wait(PAUSE):
            with contextlib.suppress(errors.Error, OSError):
                self._dice.choice(chores)()

    def _put(self, verb: str, host: str, **body: Any) -> None:
        self._fleet.client().put("os-services", verb, body={"host": host, **body})
        self.done[verb] = self.done.get(verb, 0) + 1

    def _backend(self) -> str:
        return f"{self._dice.choice(list(self._fleet.hosts))}@{self._dice.choice(BACKEND.folders)}"

    def _freeze(self) -> None:
        name = self._backend()
        self._put("freeze", name)
        self._ended.wait(PATIENCE)
        self._put("thaw", name)

    def _evacuate(self) -> None:
        """A backend, or all of a host; it takes new volumes again afterwards, evacuated or not."""
        name = self._backend()
        name = name if self._dice.random() < 0.7 else name.partition("@")[0]
        self._put("evacuate", name)
        self._ended.wait(3 * PATIENCE)
        self._put("enable", name)

    def _fail_over(self) -> None:
        """There, and the next time back."""
        is_over = self._status(REPLICATED) == _OVER
        self._fall_back()
        self._put("failover_host", REPLICATED, backend_id=_BACK if is_over else _FAR)
        wait_until(lambda: self._ended.is_set() or self._has_settled(), 60)
        self._fall_back()

    def _fall_back(self) -> None:
        for owner in self._replicating:
            owner.fall_back()

    def _has_settled(self) -> bool:
        with contextlib.suppress(errors.Error, OSError):
            return self._status(REPLICATED) in (_OVER, _HOME)
        return False

    def _fail_over_and_home(self) -> bool:
        """Once over and back at least; whether it is at home."""
        if not self._has_settled():
            return False
        is_home = self._status(REPLICATED) == _HOME
        if is_home and self.done.get("failover_host", 0) >= 2:
            self._fall_back()
            return True
        with contextlib.suppress(errors.Error, OSError):
            self._put("failover_host", REPLICATED, backend_id=_FAR if is_home else _BACK)
        return False

    def _services(self) -> list[dict[str, Any]]:
        return list(self._fleet.client().get("os-services")["services"])

    def _status(self, name: str) -> str:
        return str(next(row["replication_status"] for row in self._services() if row["host"] == name))

    def _restored(self) -> bool:
        """Whether nothing is frozen or disabled any more."""
        out = False
        with contextlib.suppress(errors.Error, OSError):
            for row in self._services():
                for verb, wanted in (("thaw", row["frozen"]), ("enable", row["status"] == "disabled")):
                    if wanted:
                        self._put(verb, row["host"])
                        out = True
            return not out
        return False


@contextmanager
def administered(fleet: Fleet, owners: list[Owner]) -> Iterator[Administrator]:
    """While the block runs; in the end everything is in service again."""
    made = Administrator(fleet, owners)
    made.thread.start()
    try:
        yield made
    finally:
        made.end()
