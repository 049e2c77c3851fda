"""The service's half of leading an export's clients to another host (redirect.py has what they are led by)."""

import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.exports.nbd import moved
from nbdsvc.exports.nbd.mirrors import Mirrors
from nbdsvc.exports.nbd.redirect import ON_ITS_WAY, is_redirect
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.location import Location

# Seconds. A start takes a tenth; where it takes longer, the server is started anew, as one of an older version is.
_START_SECONDS, _POLL_SECONDS = 2.0, 0.01


class Leaving(Mirrors):
    """See LeavingExporter in nbdsvc/exporter.py for the contract; `redirect` and `prepare` are in exporter.py."""

    _root: Path

    @abstractmethod
    def remove(self, export_id: str) -> None:
        """See the contract."""

    def leave(self, export_id: str, source: Location) -> None:
        """See the contract. The end of the connection is the end of the server; where it is not seen, the server is ended."""
        try:
            self._command(export_id, do="switch")
        except errors.ExportFailed as error:
            if error.__cause__ is None:  # it has refused
                raise
            if isinstance(error.__cause__, OSError):
                StateDir(self._root, export_id).end_process()
            if self.moved_to(export_id, source) is None:
                raise

    def come_back(self, export_id: str) -> None:
        """See the contract. The record goes last: a server that starts before says nothing wrong."""
        state = StateDir(self._root, export_id)
        if not (moved.is_recorded(state.path) or _has_left(state.path)):
            return  # it has come back already, and serves
        state.end_process()
        moved.forget(state.path)

    def unprepare(self, export_id: str) -> None:
        """See the contract. A redirect that was there before `prepare` says another place, or has a record."""
        state = StateDir(self._root, export_id)
        found = (state.read() or {}).get("location", {})
        if found.get("address") == ON_ITS_WAY and not moved.is_recorded(state.path):
            self.remove(export_id)

    def left(self) -> frozenset[str]:
        """By records and notes, without those that are damaged."""
        recorded = {id for id, (_source, there) in self.records().items() if there.scheme == "nbd"}
        return frozenset(recorded | {path.name for path in self._root.iterdir() if _has_left(path)})

    def _lead(self, state: StateDir, spec: dict[str, Any]) -> bool:
        """Let the server that runs say where the volume is now, and write that down for the next one. False where it takes no
        command: it is of an older version, or does not run; one that has just left is started again at once (keep.sh).
        """
        if not state.rewrite(spec):
            return True  # it was removed meanwhile
        end = time.monotonic() + _START_SECONDS
        while state.pid() is not None and time.monotonic() < end:
            try:
                self._command(state.id, do="redirect", uri=spec["location"]["address"])
            except errors.ExportFailed as error:
                if error.__cause__ is None:
                    return False
                time.sleep(_POLL_SECONDS)
            else:
                return True
        return False


def _has_left(folder: Path) -> bool:
    found = StateDir(folder.parent, folder.name).read() if folder.is_dir() else None
    return found is not None and is_redirect(found.get("location", {}))
