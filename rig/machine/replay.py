"""`python -m rig.machine.replay FILE`: run the actions of a saved failure again on a new service, and write a page."""

import os
import sys
from pathlib import Path

from rig import install
from rig.fleet import FLEET, Fleet
from rig.log import log
from rig.machine import report, run
from rig.machine.record import load

PAGE = Path("build/rig/replay.html")


def main(saved: str) -> int:
    """Replay the file; the exit status is 0 when no fault was found this time."""
    transport, plan = load(Path(saved))
    agents = install.agents(Fleet.load(Path(os.environ[FLEET])))
    made, world = run.replay(run.Lab.of(agents, transport), plan)
    report.write(PAGE, made, report.logs(agents))
    run.clear_away(world)
    log(f"{made.violation or 'nothing was wrong'}; shown: {PAGE}")
    return 1 if made.violation else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
