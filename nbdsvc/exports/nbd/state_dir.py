"""The state of an export on disk: one folder with its spec, sockets, key and process, readable by its owner only.

<exports>/<attachment id>/spec.json   what is served, without the key
                          nbd.sock    the unix socket
                          psk         the pre-shared key, where there is one
                          process     pid and start time of the shell that keeps the server (keep.sh)
                          ctl.sock    the server's private channel (control.py)
                          log         its warnings and errors
         <attachment id>.moved        where its volume is instead, after a switch (moved.py)
"""

import json
import shutil
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file
from nbdsvc.exports.nbd import moved, processes
from nbdsvc.exports.nbd.processes import SPEC, stat_of
from nbdsvc.exports.note_version import is_whole


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
        """The spec as written, with the volume's location now; None for an export that is not there, was only half made, or
        is damaged.
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
        """durable: they are on stable storage when this returns. A rebuild after a lost database finds exports by them."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if psk is not None:
            atomic_file.write(self.psk_path, f"{self.id}:{psk}\n".encode(), durable=durable)
        atomic_file.write(self.spec_path, json.dumps(spec).encode(), durable=durable)
        if durable:
            atomic_file.sync_folder(self.path.parent)

    def secret(self) -> str:
        """The pre-shared key as written, without the name of its owner."""
        return self.psk_path.read_text().strip().partition(":")[2]

    def pid(self) -> int | None:
        """The server's pid if it lives: same pid, same start time, and its command line names this folder."""
        try:
            pid, started = (self.path / "process").read_text().split()
            return int(pid) if self._is_ours(int(pid), started) else None
        except (OSError, ValueError):
            return None

    def end_process(self) -> None:
        """SIGKILL to every server of the export, also to such as no file names; returns when they are gone.

        After a SIGTERM nbdkit goes on until its clients have gone, and answers ESHUTDOWN to all that they ask: an I/O error
        on their hosts. What has no answer they ask the next server again, and nothing that is answered is in its memory.
        """
        processes.end(self.path.parent, self.id, self.pid())

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

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
