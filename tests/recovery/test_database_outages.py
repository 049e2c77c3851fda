"""Three hosts and two API processes whose PostgreSQL is restarted, killed and failed over under load."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import aftermath
import pytest
from fleet import Fleet
from load_on import busy, loaded
from postgres import Postgres, new_folder

# Short in the suite; NBDSVC_OUTAGES=20 for the long run.
OUTAGES = int(os.environ.get("NBDSVC_OUTAGES", "3"))
# Requests of the clients between two outages.
DEEDS = 12


@pytest.fixture
def server() -> Iterator[Postgres]:
    made = Postgres()
    yield made
    made.stop()


@pytest.mark.timeout(900)
def test_restarts_and_a_fail_over_under_load(server: Postgres, short_folder: Path) -> None:
    """PostgreSQL is restarted, killed, away for seconds, and replaced by its standby: nothing is lost, done twice, stuck
    or failed for it, and no thread ends."""
    dice, kinds, second = random.Random(3), (server.stop_fast, server.kill), new_folder()
    url = f"{server.database()}&host={second}&target_session_attrs=read-write"
    fleet = Fleet(short_folder, url)
    try:
        fleet.start()
        with loaded(fleet) as owners:
            for number in range(OUTAGES - 1):
                busy(owners, DEEDS)
                kinds[number % 2]()
                time.sleep(dice.choice((0, 0.5, 2)))
                server.start()
            busy(owners, DEEDS)
            standby = _fail_over(server, second)
            busy(owners, DEEDS)
        print(f"{OUTAGES} outages, the last one a fail-over:", aftermath.check(fleet, owners))
        fleet.check_alive()
    finally:
        fleet.stop()
    standby.stop()


def _fail_over(server: Postgres, folder: Path) -> Postgres:
    """The server dies, and the standby that had everything that was committed is the server."""
    standby = Postgres(standby_of=server, folder=folder)
    server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    server.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)
    server.kill()
    standby.promote()
    return standby
