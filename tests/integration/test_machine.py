"""A random walk over the real API, real NBD, kills and faults, judged by a model of every byte and every row.

The long hunt for planted bugs is `make mutations`; this part of `make test` is bounded by its steps.
"""

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from walk import hunt, run
from walk.world import World

# Twenty seconds on a quiet machine; on a slow one the walk is shorter, and the test is as good.
STEPS, SEQUENCES, SECONDS = 25, 3, 35.0
SAVED = Path(__file__).resolve().parents[2] / "build" / "walk" / "failure.json"


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder, hunt.service(Path(folder)) as service:
        yield World(service)


def test_any_walk_leaves_every_byte_and_row_as_the_model_says(world: World) -> None:
    """Whatever is requested, in whatever order, with faults and kills: rows, sizes and bytes are as the model says."""
    seed = "0" if "CI" in os.environ else str(random.SystemRandom().randrange(1, 1 << 32))
    seed, end = os.environ.get("WALK_SEED", seed), time.monotonic() + SECONDS
    for number in range(SEQUENCES):
        record = run.walk(world, f"{seed}.{number}", STEPS, end)
        if record.violation:
            record.save(SAVED)
            pytest.fail(f"WALK_SEED={seed}\n{record}\nsaved: make walk-replay FILE={SAVED}", pytrace=False)
