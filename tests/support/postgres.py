"""PostgreSQL of Debian's packages on private sockets: one server for a test session, or one to be stopped and killed."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS = 30


def new_folder() -> Path:
    """Of a server that is to be started: its socket will be there."""
    made = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    shutil.chown(made, "postgres", "postgres")
    return made


class Postgres:
    """One cluster in a folder of its own; `database()` makes a fresh database and returns its URL.

    standby_of: the server whose copy it is. settings: more of its own (name=value).
    """

    def __init__(self, *settings: str, standby_of: "Postgres | None" = None, folder: Path | None = None) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert binaries, "PostgreSQL is not installed (Debian package postgresql)"
        self._bin = binaries[-1]
        self.folder = folder or new_folder()
        self.data = self.folder / "data"
        self._settings = settings
        self._count = 0
        self._databases: set[str] = set()
        if standby_of:
            source = ["-h", str(standby_of.folder), "-U", "postgres"]
            self._run("pg_basebackup", *source, "-D", str(self.data), "-R", "-X", "stream", "-c", "fast")
        else:
            self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def start(self) -> None:
        """Returns when it serves. After a kill the last of its processes may be alive for a moment: then again."""
        settings = ["listen_addresses=''", f"unix_socket_directories={self.folder}", "fsync=off", *self._settings]
        options = " ".join(f"-c {each}" for each in settings)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._run(
                    "pg_ctl", "-D", str(self.data), "-o", options, "-l", str(self.folder / "log"), "-w", "start"
                )
            except subprocess.CalledProcessError:
                assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.1)

    def database(self, name: str = "", like: str = "template1") -> str:
        """like: the database whose tables it is to have; no session may use that one meanwhile."""
        self._count += 1
        name = name or f"test{self._count}"
        self._databases.add(name)
        self._run("createdb", "-h", str(self.folder), "-U", "postgres", "-T", like, name)
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def has(self, name: str) -> bool:
        return name in self._databases

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run SQL as the superuser."""
        self._run("psql", "-h", str(self.folder), "-U", "postgres", "-q", "-c", statement, database)

    def promote(self) -> None:
        """Let a standby be the server. Returns when it takes writes."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "promote")

    def kill(self) -> None:
        """SIGKILL: its other processes end by themselves."""
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def stop_fast(self) -> None:
        """As an administrator's restart: every connection is ended, what they began is rolled back."""
        self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def stop(self) -> None:
        """End it and remove its folder. AssertionError where transactions of ours have waited for each other: they take rows in
        one order, and whoever loses is a request with 503.
        """
        subprocess.run(self._argv("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop"), capture_output=True)
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        shutil.rmtree(self.folder, ignore_errors=True)
        found = [at for at, line in enumerate(lines) if "deadlock detected" in line]
        assert not found, "\n".join(line for at in found for line in lines[at : at + 8])

    def _argv(self, program: str, *arguments: str) -> list[str]:
        argv = [str(self._bin / program), *arguments]
        return ["runuser", "-u", "postgres", "--", *argv] if os.geteuid() == 0 else argv

    def _run(self, program: str, *arguments: str) -> None:
        argv = self._argv(program, *arguments)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
