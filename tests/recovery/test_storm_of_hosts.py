"""Random kills over three hosts and two API processes under load."""

import os
import random
import time
from pathlib import Path

import aftermath
import pytest
from fleet import Fleet
from host_network import HostNetwork
from load_on import busy, freezing, loaded
from postgres import Postgres

# Short in the suite; NBDSVC_KILLS=100 for the long run.
KILLS = int(os.environ.get("NBDSVC_KILLS", "6"))


@pytest.mark.timeout(1800)
@pytest.mark.row("S021", "S053")
def test_random_kills_over_all_processes(postgres: Postgres, short_folder: Path) -> None:
    """SIGKILLs of hosts, each in a network namespace of its own, and of API processes: nothing is lost, done twice, stuck
    or left over, and every byte, size and quota is right."""
    network = HostNetwork(("h1", "h2", "h3"))
    fleet = Fleet(short_folder, postgres.database(), network)
    dice = random.Random(11)
    try:
        fleet.start()
        with loaded(fleet) as owners, freezing(fleet):
            for _ in range(KILLS):
                busy(owners, dice.randint(1, 5), 10)
                time.sleep(dice.uniform(0, 0.3))
                member = dice.choice(list(fleet.members.values()))
                member.kill()
                time.sleep(dice.choice((0, 0, 1)))
                member.start()
            busy(owners, 6)
        print(f"{KILLS} kills:", aftermath.check(fleet, owners))
        fleet.check_alive()
    finally:
        fleet.stop()
        network.remove()
