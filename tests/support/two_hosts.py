"""A process with the engine of one host, for operations whose steps run on two: `two_hosts.py URL FOLDER HOST`.

The file FOLDER/plan.json has the moment at which a process kills itself: {"moment": ..., "step": ..., "fail": ...}, as in
crashing.py. A step's effect is a file FOLDER/HOST-OPERATION-STEP that its undo removes; it says FOLDER/broken where a rule is.
"""

import json
import os
import signal
import sys
from pathlib import Path

import sqlalchemy as sa
from several_hosts import ends
from untyped_operations import Run, Step, untyped

from nbdsvc import errors
from nbdsvc.model.operation import Operation
from nbdsvc.operations.client import Operations
from nbdsvc.operations.engine import Engine
from nbdsvc.store.claims import Claim
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener

KIND = "two_hosts"
# Away and home again, and away at the end, so that also the end is handed over.
PLACES = (None, "b", None, "b")
STEPS = [(str(index), place or "a") for index, place in enumerate(PLACES)]


class Process:
    """The steps of the operation in this process."""

    def __init__(self, url: str, folder: Path, host: str) -> None:
        self.folder, self.host = folder, host
        self.database = Database(url)
        self.claim = Claim(self.database, host, 60, host)
        steps = tuple(self._step(name, place) for (name, _), place in zip(STEPS, PLACES, strict=True))
        types = {KIND: untyped(KIND, steps, self._end, self._end)}
        locks = folder / f"locks-{host}"
        self.engine = Engine(self.database, host, types, host, locks, probe=self._probe, claim=self.claim)

    def serve(self) -> None:
        """Until it is killed."""
        self.claim.take()
        listener = Listener(self.database, Operations(self.database, self.engine).notifications())
        listener.start()
        self.engine.start()
        signal.pause()

    def _probe(self, moment: str, _operation: Operation, step: str) -> None:
        plan = self.folder / "plan.json"
        if not plan.exists():
            return
        wanted = json.loads(plan.read_text())
        if (moment, step) == (wanted["moment"], wanted["step"]):
            plan.rename(self.folder / "died")
            os.kill(os.getpid(), signal.SIGKILL)

    def _file(self, run: Run, step: str) -> Path:
        return self.folder / f"{self.host}-{run.id}-{step}"

    def _step(self, name: str, place: str | None) -> Step:
        def do(run: Run) -> str:
            there = {path.name.rpartition("-")[2] for path in self.folder.glob(f"*-{run.id}-*")}
            if there - {name} != {step for step, _ in STEPS if step < name}:
                (self.folder / "broken").write_text(f"{name} after {there}")
            self._file(run, name).touch()
            if run.operation.args["fails"] and name == STEPS[-1][0]:
                raise errors.BackendUnavailable(backend=name, reason="the test wants it")
            return self.host

        def undo(run: Run) -> None:
            later = [path for path in self.folder.glob(f"*-{run.id}-*") if path.name.rpartition("-")[2] > name]
            if later:
                (self.folder / "broken").write_text(f"undo {name} before {later}")
            self._file(run, name).unlink(missing_ok=True)

        return Step(name, do, undo, host=(lambda _run: place) if place else None)

    def _end(self, conn: sa.Connection, operation: Operation, *_: object) -> None:
        conn.execute(ends.insert().values(operation=operation.id, host=self.host, state=operation.state))


if __name__ == "__main__":
    Process(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).serve()
