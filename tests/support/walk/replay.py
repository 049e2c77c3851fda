"""`python -m walk.replay FILE`: a saved walk again, and what is left of it when all is left out that it does not need."""

import json
import os
import sys
import tempfile
from pathlib import Path

from walk import hunt, run

# Of the walk that went wrong.
HOSTS = int(os.environ.get("HOSTS", "1"))


def main(name: str) -> int:
    """1 where it goes wrong again; the shorter walk is in FILE then."""
    path = Path(name)
    plan = json.loads(path.read_text())["plan"]
    record = again(plan)
    if record.violation:
        record = run.shrink(again, record, float(os.environ.get("SECONDS", "300")))
        record.save(path)
    print(record)
    return 1 if record.violation else 0


def again(plan: run.Plan) -> run.Record:
    """On a new service."""
    with (
        tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder,
        hunt.world(Path(folder), hosts=HOSTS) as world,
    ):
        return run.replay(world, plan)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
