"""`python -m rig.machine.hunt NAME MINUTES SEED`: does the machine find the bug that is planted in the hosts' tree?

Actions that take minutes are left out, except the fault that the bug needs. Actions that the bug needs are drawn more
often: a hunt is short, and a sequence such as write, snapshot, write, detach, revert happens by chance once in a
hundred steps.
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

# The weight of each action that the bug needs; all other actions together have about thirty.
NEEDED = 16


def weights(bug: Mutation) -> dict[str, int]:
    """The weight of each action: how often it is drawn."""
    return {**run.WEIGHTS, **dict.fromkeys(bug.needs, NEEDED)}


def main(name: str, minutes: str, seed: str) -> int:
    """Hunt for the bug; the last line of the output is the result as JSON."""
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
