"""The service's half of leading an export's clients to another host (redirect.py has what they are led by)."""

from pathlib import Path

from nbdsvc import errors
from nbdsvc.exports.nbd import moved
from nbdsvc.exports.nbd.mirrors import Mirrors
from nbdsvc.exports.nbd.redirect import is_redirect
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.location import Location


class Leaving(Mirrors):
    """See LeavingExporter in nbdsvc/exporter.py for the contract; `redirect` is in exporter.py."""

    _root: Path

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

    def left(self) -> frozenset[str]:
        """By records and notes, without those that are damaged."""
        recorded = {id for id, (_source, there) in self.records().items() if there.scheme == "nbd"}
        return frozenset(recorded | {path.name for path in self._root.iterdir() if _has_left(path)})


def _has_left(folder: Path) -> bool:
    found = StateDir(folder.parent, folder.name).read() if folder.is_dir() else None
    return found is not None and is_redirect(found.get("location", {}))
