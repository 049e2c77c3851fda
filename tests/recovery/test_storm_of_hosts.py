"""Kills of all kinds of processes over three hosts and two API processes under load."""

import os
from collections.abc import Iterator
from pathlib import Path

import aftermath
import pytest
from administrator import administered
from fleet import Fleet
from host_network import HostNetwork
from load_on import busy, loaded
from postgres import Postgres
from storm import Storm, shift_clocks

# Short in the suite: each kind once. `make storm` is the long run.
KILLS = int(os.environ.get("NBDSVC_KILLS", "6"))
SEED = int(os.environ.get("NBDSVC_STORM_SEED", "11"))


@pytest.fixture
def server() -> Iterator[Postgres]:
    made = Postgres()
    yield made
    made.stop()


@pytest.mark.timeout(3600)
@pytest.mark.row("S021", "S053", "S033", "S034", "S043")
def test_random_kills_over_all_processes(server: Postgres, short_folder: Path) -> None:
    """SIGKILLs of hosts, each in a network namespace of its own, of API processes, export servers and PostgreSQL, and losses of
    hosts that return, with clocks that differ, while volumes move, backends are frozen, evacuated and failed over: nothing is
    lost, done twice, stuck or left over, and every byte, size and quota is right."""
    network = HostNetwork(("h1", "h2", "h3"))
    fleet = Fleet(short_folder, server.database(), network, replicates=True)
    shift_clocks(fleet, short_folder)
    try:
        fleet.start()
        with loaded(fleet) as owners, administered(fleet, owners) as administrator:
            storm = Storm(fleet, server, owners, SEED)
            for _ in range(KILLS):
                storm.strike()
            busy(owners, 6)
        print(f"{KILLS} kills ({storm}; {administrator}):", aftermath.check(fleet, owners))
        fleet.check_alive()
    finally:
        fleet.stop()
        network.remove()
