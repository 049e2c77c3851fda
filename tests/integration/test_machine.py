"""A random walk over the real API, real NBD, kills and faults, judged by a model of every byte and every row.

The long hunt for planted bugs is `make mutations`; this part of `make test` is bounded by its steps.
"""

import os
import random
import tempfile
import time
from pathlib import Path

import pytest
from postgres import Postgres
from walk import hunt, run
from walk.world import World

# Twenty seconds on a quiet machine; on a slow one the walk is shorter, and the test is as good.
STEPS, SECONDS = 25, 10.0
SAVED = Path(__file__).resolve().parents[2] / "build" / "walk" / "failure.json"
SEED = "0" if "CI" in os.environ else str(random.SystemRandom().randrange(1, 1 << 32))


def _walk(world: World, numbers: range) -> None:
    """These sequences of the seed."""
    seed, end = os.environ.get("WALK_SEED", SEED), time.monotonic() + SECONDS * len(numbers)
    for number in numbers:
        record = run.walk(world, f"{seed}.{number}", STEPS, end)
        print(f"sequence {number}: {len(record.plan)} steps")
        if record.violation:
            record.save(SAVED)
            again = f"HOSTS={2 if world.other else 1} make walk-replay FILE={SAVED}"
            pytest.fail(f"WALK_SEED={seed}\n{record}\nsaved: {again}", pytrace=False)


def test_any_walk_leaves_every_byte_and_row_as_the_model_says() -> None:
    """Whatever is requested, in whatever order, with faults and kills: rows, sizes and bytes are as the model says."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder, hunt.world(Path(folder)) as world:
        _walk(world, range(2))


@pytest.mark.row("S033", "S034", "S053")
def test_any_walk_over_two_hosts(postgres: Postgres) -> None:
    """The same with a second host on PostgreSQL: volumes move between hosts, backends are evacuated, a host is lost and returns."""
    with (
        tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder,
        hunt.world(Path(folder), hosts=2, database=postgres.database()) as world,
    ):
        _walk(world, range(2, 3))
