"""The service, with a probe in its engine that ends the process by SIGKILL where the file $CRASH_PLAN says; once."""

import json
import os
import signal
from pathlib import Path

from nbdsvc import config
from nbdsvc.cli.serve import run
from nbdsvc.model.operation import Operation

PLAN = Path(os.environ["CRASH_PLAN"])


def probe(moment: str, operation: Operation, step: str) -> None:
    if not PLAN.exists():
        return
    plan = json.loads(PLAN.read_text())
    if (plan["kind"], plan["moment"], plan["step"]) == (operation.kind, moment, step):
        PLAN.rename(PLAN.with_suffix(".done"))
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run(config.load(), with_api=True, with_host=True, probe=probe)
