"""What a storm does to a fleet: any process dies and comes back, and hosts are lost and return."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import shifted
from fleet import Fleet, Member
from load import Owner
from load_on import busy
from postgres import Postgres
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.model import clock
from nbdsvc.store import tables
from nbdsvc.store.database import Database

# Seconds by which each process's time of day differs from the machine's: no two agree.
CLOCKS = {"h1": -3600, "h2": 7200, "h3": 30, "api1": 1800, "api2": -86400}


def shift_clocks(fleet: Fleet, folder: Path) -> None:
    """Before the fleet starts: each process of it has a time of day of its own."""
    library = shifted.library(folder)
    for name, seconds in CLOCKS.items():
        shifted.shift(fleet.members[name], library, seconds)


class Storm:
    """Strikes; what they did is in `counts`."""

    def __init__(self, fleet: Fleet, server: Postgres, owners: list[Owner], seed: int) -> None:
        self.counts: dict[str, int] = {}
        self._fleet, self._server, self._owners = fleet, server, owners
        self._dice = random.Random(seed)
        # Each once in six strikes at least: what is rare is in the short storm too.
        self._kinds: list[Callable[[], None]] = [
            self._host, self._host, self._api, self._export_server, self._database, self._loss
        ]  # fmt: skip
        self._next: list[Callable[[], None]] = []

    def strike(self) -> None:
        """One process dies, and serves again when this returns."""
        if not self._next:
            self._next = self._dice.sample(self._kinds, len(self._kinds))
        busy(self._owners, self._dice.randint(1, 5), 10)
        time.sleep(self._dice.uniform(0, 0.3))
        kind = self._next.pop()
        kind()
        name = kind.__name__.removeprefix("_").replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1

    def __str__(self) -> str:
        return ", ".join(f"{count} x {name}" for name, count in sorted(self.counts.items()))

    def _host(self) -> None:
        self._restart(self._dice.choice(list(self._fleet.hosts.values())))

    def _api(self) -> None:
        self._restart(self._dice.choice(list(self._fleet.apis.values())))

    def _restart(self, member: Member) -> None:
        member.kill()
        time.sleep(self._dice.choice((0, 0, 1)))
        member.start()

    def _export_server(self) -> None:
        """Of any host that has one; a few requests are made where none has."""
        for _ in range(20):
            pids = [pid for host in self._fleet.hosts.values() for pid in sorted(host.servers())]
            if pids:
                _end(self._dice.choice(pids))
                return
            busy(self._owners, 1, 2)

    def _database(self) -> None:
        self._dice.choice((self._server.stop_fast, self._server.kill))()
        time.sleep(self._dice.choice((0, 0.5)))
        self._server.start()

    def _loss(self) -> None:
        """Its power is off, which an administrator says; others go on without it; then it returns with its disks."""
        host = self._dice.choice(list(self._fleet.hosts.values()))
        host.kill()
        for pid in host.servers():
            _end(pid)
        self._be_silent(host.name)
        self._put("lost", host.name, fenced=True)
        busy(self._owners, self._dice.randint(2, 8), 5)
        self._put("return", host.name)
        self._remove_strangers(host)
        host.start()
        self._put("enable", host.name)

    def _be_silent(self, name: str) -> None:
        """As if its last report had come an hour ago: the time for which a host has to be silent is left out."""
        database = Database(self._fleet.url)
        try:
            with database.write() as conn:
                late = tables.backends.update().where(tables.backends.c.host == name)
                conn.execute(late.values(updated_at=clock.now() - timedelta(hours=1)))
        finally:
            database.close()

    def _put(self, verb: str, host: str, **body: object) -> None:
        """Sent until it is accepted."""

        def accepted() -> bool:
            with contextlib.suppress(errors.Error, OSError):
                self._fleet.client().put("os-services", verb, body={"host": host, **body})
                return True
            return False

        wait_until(accepted, 60, lambda: (verb, host))

    def _remove_strangers(self, host: Member) -> None:
        """What left the host while it was lost, or was deleted, is still on its disks: an administrator removes it, as docs/services.md
        says, before the host starts. It makes nothing new meanwhile.
        """
        places = self._fleet.places()
        for path in host.files():
            if places.get(path.name) != f"{host.name}@{path.parents[1].name}":
                path.unlink()
                id = path.name.removeprefix("volume-")
                for copy in (host.state / "far" / "volumes" / path.name, path.parents[1] / "replication" / id):
                    copy.unlink(missing_ok=True)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
