"""A real nbdsvc process for tests: started, killed at a chosen step, started again, and searched for leftovers."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import migrated
import recording
from backends import Backend
from forking import ForkedService
from waiting import wait_until

from nbdsvc.cli.client import Client
from nbdsvc.exports.nbd import limits as of_volume
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.model import states

HERE = Path(__file__).resolve().parent
# Multiplied by ten for emulated machines.
PATIENCE = float(os.environ.get("NBDSVC_TEST_PATIENCE", "1"))
READY, READY_SECONDS = " ready on ", 60 * PATIENCE
# Launcher, variables, tree and script of a service that needs nothing of its own.
USUAL = ((), {}, HERE.parents[1], HERE / "crashing.py")
UNFINISHED = ("pending", "running", "undoing")
_IN_FLIGHT = states.VOLUME_IN_FLIGHT | states.SNAPSHOT_IN_FLIGHT | states.GROUP_IN_FLIGHT | states.BACKUP_IN_FLIGHT


def forget_limits(exports: Path) -> None:
    """Of servers that were killed: an exporter removes it with the last export of a volume."""
    shared = of_volume.shared_path(exports, "*")
    for path in shared.parent.glob(shared.name):
        path.unlink()


@dataclass(frozen=True)
class Shown:
    """The rows of all projects, in detail."""

    volumes: list[dict[str, Any]]
    snapshots: list[dict[str, Any]]
    attachments: list[dict[str, Any]]

    @classmethod
    def by(cls, client: Client) -> "Shown":
        found = [(noun, client.get(noun, "detail", all_tenants=1)[noun]) for noun in ("volumes", "snapshots")]
        return cls(**dict(found), attachments=client.get("attachments", all_tenants=1)["attachments"])


class ServiceProcess:
    """One service on one state folder. `settings` become its environment; those of its backend too."""

    # Tests fork it (conftest.py), unless they give it a program, variables or a launcher; who measures it does not.
    forks: ClassVar[bool] = False

    def __init__(self, folder: Path, backend: Backend | None = None, **settings: object) -> None:
        self.backend = backend or Backend()
        self.state = self._made = folder / "s"
        self.state.mkdir(parents=True, exist_ok=True)
        self.log = folder / "service.log"
        self.plan = folder / "crash.json"
        self.settings = {"HOST": "me", "PORT": 0, "REPAIR_INTERVAL": 0.5, "QUOTA_VOLUMES": 1000, "QUOTA_SNAPSHOTS": 1000,
                         "QUOTA_GIGABYTES": 100000, **self.backend.settings, **settings}  # fmt: skip
        self.role = "serve"  # serve, api or host
        self.environment: dict[str, str] = {}  # more than its settings, for what is preloaded
        self.tree = HERE.parents[1]  # the source tree of the version that is run
        self.script = HERE / "crashing.py"
        self.launcher: tuple[str, ...] = ()  # the command that starts the process
        self.process: subprocess.Popen[bytes] | ForkedService | None = None
        self.url = ""

    def start(self) -> "ServiceProcess":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NBDSVC_")}
        environment |= {f"NBDSVC_{key.upper()}": self._setting(value) for key, value in self.settings.items()}
        environment["NBDSVC_STATE_DIR"] = str(self.state)
        if self.tree == HERE.parents[1]:  # an older version does not know these settings
            environment = {"NBDSVC_QUOTA_GROUPS": "1000", "NBDSVC_QUOTA_BACKUPS": "1000"} | environment
        environment |= {"CRASH_PLAN": str(self.plan), "ROLE": self.role}
        environment |= {"PYTHONPATH": str(self.tree), **self.environment}
        if calls := recording.folder():
            environment["CALLS"] = str(calls)
        before = self.log.read_text().count(READY) if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = self._begin(environment, output)
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            lines = [line for line in self.log.read_text().splitlines() if READY in line]
            if len(lines) > before:
                self.url = lines[-1].rpartition(" ")[2]
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("the service did not start:\n" + self.log.read_text()[-3000:])

    def _begin(self, environment: dict[str, str], output: BinaryIO) -> "subprocess.Popen[bytes] | ForkedService":
        usual = (self.launcher, self.environment, self.tree, self.script) == USUAL
        if self.forks and usual:
            if "NBDSVC_DATABASE" not in environment and self._is_new():
                migrated.sqlite_at(self.state / "nbdsvc.db")
            return ForkedService(environment, output.fileno())
        argv = [*self.launcher, sys.executable, str(self.script)]
        return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def _is_new(self) -> bool:
        """Whether the state folder is the one that was made here, and no service has used it."""
        return self.state == self._made and not os.path.ismount(self.state) and not list(self.state.iterdir())

    def _setting(self, value: object) -> str:
        return str(value).replace("STATE", str(self.state))

    def client(self, project: str = "p1") -> Client:
        return Client(self.url, f"tester:{project}", project)

    def crash_at(self, kind: str, moment: str, step: str, fail: str | None = None, skip: int = 0) -> None:
        """Plan a SIGKILL of the service's process by itself; once. `fail`: the step after which it is undone.

        skip: how often it comes there and lives.
        """
        plan = {"kind": kind, "moment": moment, "step": step, "fail": fail, "skip": skip}
        self.plan.write_text(json.dumps(plan))

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait_dead(self, seconds: float = 20 * PATIENCE) -> bool:
        assert self.process
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        return int(self.process.returncode)

    def end_exports(self) -> None:
        """Exports outlive the service by design: end them when a test is over."""
        root = self.state / "exports"
        for path in (path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ():
            folder = StateDir(root, path.name)
            folder.end_process()
            folder.remove()
        forget_limits(root)

    def settle(self, seconds: float = 60 * PATIENCE) -> None:
        """Wait until no operation is unfinished. Looked at twice: the end of one may submit another, in a state that was
        looked at before.
        """
        client = self.client()

        def ended() -> bool:
            states = UNFINISHED * 2
            return not any(client.get("operations", all_tenants=1, state=state)["operations"] for state in states)

        wait_until(ended, seconds, lambda: client.get("operations", all_tenants=1))

    def wait_status(self, noun: str, id: str, seconds: float = 60 * PATIENCE) -> str:
        """The status once it is not one of an operation's hands; "gone" for a row that is not there."""
        from nbdsvc import errors

        client = self.client()

        def at_rest() -> str | None:
            try:
                status = str(client.get(noun, id)[noun.removesuffix("s")]["status"])
            except errors.NotFound:
                return "gone"
            return None if status in _IN_FLIGHT else status

        return str(wait_until(at_rest, seconds, lambda: client.get(noun, id)))

    def leftovers(self, shown: "Shown | None" = None, seconds: float = 10 * PATIENCE) -> list[str]:
        """What has no owner, and stays: files of the pool, exports, processes, journals, digests, locks.

        Not for a moment only: an operation releases its locks after its row says that it ended, and a repair in the
        background writes the notes of exports by files beside them.
        """
        end = time.monotonic() + seconds
        while (found := self._unowned(shown or Shown.by(self.client()))) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def _unowned(self, shown: Shown) -> list[str]:
        rows = shown.attachments
        volumes, snapshots, attachments = (
            {row["id"] for row in each} for each in (shown.volumes, shown.snapshots, rows)
        )
        found = self.backend.leftovers(volumes, snapshots, {row["volume_id"] for row in rows})
        for folder, owned, prefix in (("volumes", volumes, "volume-"), ("snapshots", snapshots, "_snapshot-")):
            paths = [path for pool in self.backend.folders for path in (self.state / pool / folder).glob("*")]
            names = {path.name.removeprefix(prefix) for path in paths}
            found += [f"{folder}/{name}" for name in names - owned]
        pools = [self.state / pool for pool in self.backend.folders]
        found += [f"new/{path.name}" for pool in pools for path in (pool / "new").glob("*")]
        found += [f"export {path.name}" for path in (self.state / "exports").iterdir() if path.stem not in attachments]
        found += [f"journal {path.name}" for path in (self.state / "journals").glob("*")]
        found += [
            f"digests {path.name}"
            for path in (self.state / "digests").glob("*")
            if path.name not in volumes | snapshots
        ]
        found += [f"lock {path.name}" for path in (self.state / "locks").iterdir()]
        return found + [f"process {pid}" for pid in self.servers() - self._known_servers(attachments)]

    def findings(self, *allowed: str) -> list[str]:
        """What `explain` says differs, but for what a failed operation left on purpose and for programs that are missing.

        allowed: kinds that may be found besides.
        """
        left = (*allowed, "volume.failed", "snapshot.failed", "attachment.failed", "host.lacking", "backend.frozen")
        found = self.client().get("explain")["findings"]
        return [each["message"] for each in found if each["kind"] not in left]

    def servers(self) -> set[int]:
        """Processes that serve an export from our state folder, and those that keep them."""
        return {pid for pids in processes.serving(self.state / "exports").values() for pid in pids}

    def _known_servers(self, attachments: set[str]) -> set[int]:
        found = processes.serving(self.state / "exports")
        return {pid for id in attachments for pid in found.get(id, set())}
