"""Random work and faults for so many minutes (RIG_MINUTES); a failure is cut short, saved and shown."""

import os
import random
import time
from pathlib import Path

import pytest

from rig.agent import Agent
from rig.log import log
from rig.machine import report, run

# Folder of the files that a run leaves.
OUTPUT = Path(__file__).resolve().parents[2] / "build" / "rig"
MINUTES = float(os.environ.get("RIG_MINUTES", "6"))
# Each transport's share of the time; over iSCSI fewer faults are possible.
SHARES = {"nbd": 0.7, "iscsi": 0.3}
# The time for shrinking, as long as the run itself: the first few tries leave out most of a sequence.
SHRINK_SECONDS = min(600.0, MINUTES * 60)


@pytest.mark.timeout(MINUTES * 60 + 2 * SHRINK_SECONDS + 900)
@pytest.mark.row("S001", "S002", "S009", "S064", "S065", "S066", "S067", "S068", "S069", "S092", "S093", "S094")
@pytest.mark.ci
@pytest.mark.parametrize("transport", SHARES)
def test_random_work_and_faults(agents: dict[str, Agent], transport: str) -> None:
    """Every flushed block is there whatever was done or broken, nothing is left behind, and every row settles."""
    lab, minutes = run.Lab.of(agents, transport), MINUTES * SHARES[transport]
    number = int(os.environ.get("RIG_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    log(f"the machine runs over {transport} for {minutes:g} minutes from seed {number}")
    began = time.monotonic()
    record, world = run.generate(lab, minutes * 60, number)
    log(run.summary(lab, world, number, time.monotonic() - began))
    page = OUTPUT / f"report-{transport}.html"
    report.write(page, record, report.logs(lab.agents))
    if record.violation:
        record.save(OUTPUT / "failure.json")
        shorter = run.shrink(lab, record, SHRINK_SECONDS)
        again, _ = run.replay(lab, shorter)
        if again.violation:
            again.save(OUTPUT / "failure.json")
            report.write(page, again, report.logs(lab.agents))
    run.clear_away(world)
    assert record.violation == "", f"{record.violation}\nsaved: {OUTPUT}/failure.json, shown: {page}"
