"""The storage host loses its power again and again (RIG_CUTS), under writes and with operations on their way."""

import os
import random
import time

import pytest

from rig.agent import Agent
from rig.log import log
from rig.machine import power_loss, run
from rig.machine.transports import TRANSPORTS

COUNT = int(os.environ.get("RIG_CUTS", "3"))


@pytest.mark.timeout(600 + COUNT * 600)  # a cut takes half a minute, or ten minutes with more machines on two cores
@pytest.mark.row("S001", "S067", "S068")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost_when_the_power_goes(agents: dict[str, Agent], transport: str) -> None:
    """No acknowledged flush is lost, every row settles and every export serves again, without an administrator."""
    number = int(os.environ.get("RIG_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    log(f"{COUNT} power cuts over {transport} from seed {number}")
    world, chance, tally = run.Lab.of(agents, transport).world(), random.Random(number), power_loss.Tally()
    power_loss.prepare(world)
    began = time.monotonic()
    while tally.cuts < COUNT:
        power_loss.one(world, chance, tally)
    each = (time.monotonic() - began) / COUNT
    log(f"seed {number}: {tally.cuts} power cuts, {tally.operations} operations on their way, {tally.acknowledged}"
        f" acknowledged flushes, none lost; the longest write took {tally.longest:.1f} s; {each:.0f} s a cut")  # fmt: skip
    run.clear_away(world)
