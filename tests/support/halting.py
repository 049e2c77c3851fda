"""A service, of this tree or of an older one, whose operations halt where the file $HALT_PLAN says, for a kill to find them.

The plan: {operation type: [[moment, step, fail], ...]}. Each operation of a type takes the next of its points; `fail` is
a step after which the operation fails, so that it is undone, or null. Imports only what 7b1fcb8 has as well.
"""

import json
import os
import threading
from functools import partial
from pathlib import Path

from nbdsvc import config, errors
from nbdsvc.cli.serve import run
from nbdsvc.model.operation import Operation

PLAN = Path(os.environ["HALT_PLAN"])
HALTED = PLAN.with_suffix(".halted")
_left: dict[str, list[list[str | None]]] = {}
_points: dict[str, list[str | None] | None] = {}
_mutex = threading.Lock()


def probe(moment: str, operation: Operation, step: str) -> None:
    with _mutex:
        if operation.id not in _points:
            if not _left and PLAN.exists():  # operations before the planned one go on
                _left.update(json.loads(PLAN.read_text()))
            left = _left.get(operation.kind, [])
            _points[operation.id] = left.pop(0) if left else None
        point = _points[operation.id]
    if point is None:
        return
    if point[:2] == [moment, step]:
        with HALTED.open("a") as file:
            file.write(f"{operation.id} {operation.kind} {moment} {step}\n")
        threading.Event().wait()
    if (moment, step) == ("after do", point[2]):
        raise errors.BackendUnavailable(backend="file", reason="the test wants it")


if __name__ == "__main__":
    role = os.environ["ROLE"]
    run(partial(config.load, None), with_api=role != "host", with_host=role != "api", probe=probe)
