"""`python -m rig.machine.hunt NAME MINUTES SEED`: does the machine find the bug that is planted in the hosts' tree?

What takes minutes is left out, but for the fault that the bug needs. Whatever it needs is drawn more often: a hunt is short,
and what has to come together (written, snapshot taken, written again, detached, reverted) does so once in a hundred steps.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rig import install
from rig.fleet import FLEET, Fleet
from rig.machine import report, run
from rig.machine.mutations import Mutation, named

# How often each of what the bug needs is drawn: against about thirty for all else together.
NEEDED = 16


def weights(bug: Mutation) -> dict[str, int]:
    """How often each action is drawn."""
    return {**run.WEIGHTS, **dict.fromkeys(bug.needs, NEEDED)}


def main(name: str, minutes: str, seed: str) -> int:
    """The last line of the output is what came of it, as JSON."""
    agents = install.agents(Fleet.load(Path(os.environ[FLEET])))
    bug, began = named(name), time.monotonic()
    lab = replace(run.Lab.of(agents, bug.transport), without=run.SLOW - set(bug.needs), weights=weights(bug))
    record, world = run.generate(lab, float(minutes) * 60, int(seed))
    report.write(Path("build/rig") / f"{name.replace(' ', '-')}.html", record, report.logs(agents))
    found: dict[str, Any] = {"bug": name, "found": bool(record.violation), "steps": world.counts.steps,
                             "faults": world.counts.faults, "seconds": round(time.monotonic() - began), "seed": int(seed),
                             "violation": record.violation[:300]}  # fmt: skip
    run.clear_away(world)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
