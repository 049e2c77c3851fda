"""The state of an export on disk: one folder with its spec, sockets, key and process, which only its owner can read.

<exports>/<attachment id>/spec.json   the export's note, without the key
                          nbd.sock    the unix socket
                          psk         the pre-shared key, where there is one
                          served      locked by each process of the server, for as long as it lives
                          process     pid and start time of the shell that keeps the server (keep.sh)
                          ctl.sock    the server's private channel (control.py)
                          limits.json what the server keeps its clients to, where there was any (limits.py)
                          log         the server's warnings and errors
         <attachment id>.moved        the volume's new location, after a switch (moved.py)
         <attachment id>.removed      a folder that is being removed
"""

import json
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file
from nbdsvc.exports.nbd import moved, processes
from nbdsvc.exports.nbd.processes import SPEC, stat_of
from nbdsvc.exports.note_version import is_whole

_REMOVED = ".removed"


class StateDir:
    """One export's folder and the process that serves it."""

    def __init__(self, root: Path, id: str) -> None:
        self.id = id
        self.path = root / id

    @property
    def socket(self) -> Path:
        return self.path / "nbd.sock"

    @property
    def spec_path(self) -> Path:
        return self.path / SPEC

    @property
    def psk_path(self) -> Path:
        return self.path / "psk"

    def read(self) -> dict[str, Any] | None:
        """The spec, with the volume's present location; None for an export that does not exist, is incomplete, or is
        damaged.
        """
        try:
            found = json.loads(self.spec_path.read_text())
            if not is_whole(found):
                return None
            if isinstance(found.get("location"), dict):
                found["location"] = moved.location_of(self.path, found["location"])
        except (OSError, ValueError):
            return None
        return found

    def write(self, spec: dict[str, Any], psk: str | None, *, durable: bool = True) -> None:
        """Write spec and key. durable: fsync them, because a rebuild after a lost database finds exports by them.

        Raises OSError.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if psk is not None:
            atomic_file.write(self.psk_path, f"{self.id}:{psk}\n".encode(), durable=durable)
        atomic_file.write(self.spec_path, json.dumps(spec).encode(), durable=durable)
        if durable:
            atomic_file.sync_folder(self.path.parent)

    def rewrite(self, spec: dict[str, Any]) -> bool:
        """Replace the spec, durably. False where the export has been removed: it stays removed. Raises OSError."""
        try:
            atomic_file.write(self.spec_path, json.dumps(spec).encode())
        except FileNotFoundError:
            return False
        return True

    def secret(self) -> str:
        """The pre-shared key, without the identity before it. Raises OSError."""
        return self.psk_path.read_text().strip().partition(":")[2]

    def pid(self) -> int | None:
        """The pid of the keeping shell if it runs: with the start time, and with this folder in its command line."""
        try:
            pid, started = (self.path / "process").read_text().split()
            return int(pid) if self._is_ours(int(pid), started) else None
        except (OSError, ValueError):
            return None

    def end_process(self) -> bool:
        """SIGKILL every server of the export, also one that no file names; returns when they are gone, False where they stay.

        After a SIGTERM, nbdkit runs until its clients disconnect, and fails their requests with ESHUTDOWN, an I/O error
        on their hosts. After a SIGKILL, clients repeat unanswered requests at the next server, and no answered write is
        lost, because the server has none in its own memory.
        """
        return processes.end(self.path.parent, self.id, self.pid())

    def remove(self) -> None:
        atomic_file.remove_folder(self.path, self.path.with_name(self.id + _REMOVED))

    def log_tail(self) -> str:
        """The end of the server's log."""
        try:
            return (self.path / "log").read_text(errors="replace").strip()[-500:]
        except FileNotFoundError:
            return ""

    def _is_ours(self, pid: int, started: str) -> bool:
        try:
            state, since = stat_of(pid)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z" and since == started and str(self.path).encode() in command


def export_of(folder: Path) -> str:
    """The id of the export whose folder this is, also while it is being removed."""
    return folder.name.removesuffix(_REMOVED)
