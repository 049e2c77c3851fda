"""An operation of two hosts, whose processes die by SIGKILL at each boundary of its steps, forwards and while it is undone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import two_hosts
from postgres import Postgres
from several_hosts import ends
from waiting import wait_until

from nbdsvc.model import names
from nbdsvc.model import operation as model
from nbdsvc.model.operation import Operation
from nbdsvc.operations.journal import CHANNEL
from nbdsvc.store import backends, migrate
from nbdsvc.store import operations as journal
from nbdsvc.store.database import Database

FORWARD = [(moment, step, False) for step, _ in two_hosts.STEPS for moment in ("before do", "after do")]
BACKWARD = [(moment, step, True) for step, _ in two_hosts.STEPS for moment in ("before undo", "after undo")]


class Pair:
    """The processes of hosts a and b."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder, self.database, self._url = folder, Database(url), url
        migrate.upgrade(self.database)
        with self.database.write() as conn:
            ends.create(conn)
            for host in ("a", "b"):
                backends.report(conn, host, "main", "nova", [], binary="cinder-volume")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_missing(self) -> None:
        """Each process that is not there, as its machine's systemd would."""
        support = Path(two_hosts.__file__)
        for host in ("a", "b"):
            if host not in self.processes or self.processes[host].poll() is not None:
                argv = [sys.executable, str(support), self._url, str(self.folder), host]
                environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
                with (self.folder / f"log-{host}").open("ab") as log:
                    self.processes[host] = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def submit(self, *, fails: bool) -> str:
        id = names.new_id()
        made = Operation(id, two_hosts.KIND, "a", "p", "volume", id, {"fails": fails}, [["lock", False]])
        with self.database.write() as conn:
            journal.insert(conn, made)
            self.database.notify(conn, CHANNEL)
        return id

    def has_ended(self, id: str) -> bool:
        self.start_missing()
        with self.database.read() as conn:
            return journal.states(conn, [id])[id]

    def ends(self, id: str) -> list[tuple[str, str]]:
        with self.database.read() as conn:
            found = conn.execute(sa.select(ends.c.host, ends.c.state).where(ends.c.operation == id))
            return [(row.host, row.state) for row in found]


@pytest.fixture
def pair(postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(postgres.database(), tmp_path)
    yield made
    made.stop()


@pytest.mark.timeout(600)
def test_killed_at_every_step_of_two_hosts(pair: Pair) -> None:
    """Whichever host dies, and wherever: each step is done, or undone, in order on its host, and the one end is at home."""
    for moment, step, fails in FORWARD + BACKWARD:
        case = f"{moment} {step}"
        (pair.folder / "plan.json").write_text(json.dumps({"moment": moment, "step": step}))
        id = pair.submit(fails=fails)
        wait_until(lambda id=id: pair.has_ended(id), 60, lambda case=case: case)  # type: ignore[misc]
        assert (pair.folder / "died").exists(), case
        (pair.folder / "died").unlink()
        assert not (pair.folder / "broken").exists(), (case, (pair.folder / "broken").read_text())
        state = model.FAILED if fails else model.SUCCEEDED
        assert pair.ends(id) == [("a", state)], case
        left = sorted(path.name for path in pair.folder.glob(f"*-{id}-*"))
        assert left == ([] if fails else sorted(f"{host}-{id}-{name}" for name, host in two_hosts.STEPS)), case
        with pair.database.read() as conn:
            assert journal.rows.get(conn, id).attempts == 2, case
