"""`python -m rig.machine.hunt NAME TRANSPORT MINUTES SEED`: does the machine find the bug planted in the hosts' tree?"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rig import install
from rig.fleet import FLEET, Fleet
from rig.machine import report, run


def main(name: str, transport: str, minutes: str, seed: str) -> int:
    """The last line of the output is what came of it, as JSON."""
    agents = install.agents(Fleet.load(Path(os.environ[FLEET])))
    lab, began = run.Lab.of(agents, transport), time.monotonic()
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
