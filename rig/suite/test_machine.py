"""Random work and faults for so many minutes (RIG_MINUTES); a failure is cut short, saved and shown."""

import os
import random
import time
from pathlib import Path

import pytest

from rig.machine import report, run
from rig.machine.record import load
from rig.say import say

# Where a run leaves what a person or a machine reads.
OUTPUT = Path(__file__).resolve().parents[2] / "build" / "rig"
MINUTES = float(os.environ.get("RIG_MINUTES", "6"))
# As long as the run itself: most of a sequence is left out in the first few tries.
SHRINK_SECONDS = min(600.0, MINUTES * 60)


@pytest.mark.timeout(MINUTES * 60 + 2 * SHRINK_SECONDS + 900)
@pytest.mark.row("S001", "S002", "S009", "S064", "S065", "S066", "S067", "S068", "S069", "S092", "S093", "S094")
def test_random_work_and_faults(lab: run.Lab) -> None:
    """Every flushed block is there whatever was done or broken, nothing is left behind, and every row settles."""
    if saved := os.environ.get("RIG_REPLAY"):
        _replay(lab, Path(saved))
        return
    number = int(os.environ.get("RIG_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    say(f"the machine runs for {MINUTES:g} minutes from seed {number}")
    began = time.monotonic()
    record, world = run.generate(lab, MINUTES * 60, number)
    say(run.summary(lab, world, number, time.monotonic() - began))
    report.write(OUTPUT / "report.html", record, report.logs(lab.agents))
    if record.violation:
        record.save(OUTPUT / "failure.json")
        shorter = run.shrink(lab, record, SHRINK_SECONDS)
        again, _ = run.replay(lab, shorter)
        if again.violation:
            again.save(OUTPUT / "failure.json")
            report.write(OUTPUT / "report.html", again, report.logs(lab.agents))
    run.clear_away(world)
    assert record.violation == "", f"{record.violation}\nsaved: {OUTPUT}/failure.json, shown: {OUTPUT}/report.html"


def _replay(lab: run.Lab, saved: Path) -> None:
    made, world = run.replay(lab, load(saved))
    report.write(OUTPUT / "report.html", made, report.logs(lab.agents))
    run.clear_away(world)
    assert made.violation == "", f"{made.violation}\nshown: {OUTPUT}/report.html"
