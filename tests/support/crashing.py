"""The service, with a probe in its engine that does once what the file $CRASH_PLAN says.

`kind`, `moment`, `step`: end the process there by SIGKILL. `fail` (optional): a step of that kind after which the
operation fails, so that it is undone. `skip` (optional): how often it comes there and lives.
`pid` (optional): of another process that ends in place of this one.
"""

import json
import os
import signal
from functools import partial
from pathlib import Path

from recording import Recorder

from nbdsvc import config, errors
from nbdsvc.cli.serve import run
from nbdsvc.model.operation import Operation


def probe(moment: str, operation: Operation, step: str) -> None:
    path = Path(os.environ["CRASH_PLAN"])
    if not path.exists():
        return
    plan = json.loads(path.read_text())
    if (plan["kind"], plan["moment"], plan["step"]) == (operation.kind, moment, step):
        if plan.get("skip"):
            path.write_text(json.dumps({**plan, "skip": plan["skip"] - 1}))
            return
        path.rename(path.with_suffix(".done"))
        os.kill(plan.get("pid", os.getpid()), signal.SIGKILL)
    if (plan["kind"], "after do", plan["fail"]) == (operation.kind, moment, step):
        raise errors.BackendUnavailable(backend="file", reason="the test wants it")


def main() -> None:
    role = os.environ["ROLE"]
    file = Path(os.environ["CONFIG"]) if "CONFIG" in os.environ else None
    # Said only where it is wanted: an older version, which tests run too, knows nothing of it.
    recorded = {"wrap": lambda app: Recorder(app, Path(os.environ["CALLS"]))} if "CALLS" in os.environ else {}
    run(partial(config.load, file), with_api=role != "host", with_host=role != "api", probe=probe, **recorded)


if __name__ == "__main__":
    main()
