"""The service's half of mirroring: commands to the server of an export, by its private channel (control.py)."""

import contextlib
import time
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.datapath.opening import nbd_uri
from nbdsvc.exporter import MirrorState
from nbdsvc.exports.nbd import moved
from nbdsvc.exports.nbd.channel import SOCKET
from nbdsvc.exports.nbd.channel_client import command
from nbdsvc.exports.nbd.redirect import ON_ITS_WAY
from nbdsvc.exports.nbd.state_dir import StateDir
from nbdsvc.location import Location

# Seconds. Longer than a command waits for requests under way, and a switch for the disks (control.py).
ANSWER_SECONDS = 30.0
# Each takes three seconds at most (control.py). Whoever ends a mirror does it again where these are not enough.
_CANCEL_TRIES = 2
# Seconds. A server that was killed is started again at once (keep.sh); on an emulated machine under load a start took more
# than five. Until the next repair of exports, nothing else would start one.
_START_SECONDS, _POLL_SECONDS = 15.0, 0.05


class Mirrors:
    """See MirrorExporter in nbdsvc/exporter.py for the contract."""

    _root: Path

    def start_mirror(
        self, export_id: str, destination: Location, *, is_zero: bool, rate: int = 0, source: Location | None = None
    ) -> None:
        """ExportFailed also where the destination is smaller than the volume, and for a server of an older version."""
        note = StateDir(self._root, export_id).read() or {}
        if source is not None and note.get("location") != source.to_json():
            reason = f"its server does not have the volume at {source}: attach it anew"
            raise errors.ExportFailed(export=export_id, reason=reason)
        where = {"uri": nbd_uri(destination)} if destination.scheme == "nbd" else {}
        noted = Location("nbd", ON_ITS_WAY) if destination.scheme == "nbd" else destination
        self._command(export_id, do="start", destination=noted.to_json(), is_zero=is_zero, rate=rate, **where)

    def mirror_state(self, export_id: str) -> MirrorState:
        """The state of the mirror, as the server reports it. Raises ExportFailed."""
        return MirrorState(**self._command(export_id, do="status"))

    def limit_mirror(self, export_id: str, rate: int) -> None:
        """Limit the copy. rate: bytes a second, 0: no limit. Raises ExportFailed."""
        self._command(export_id, do="limit", rate=rate)

    def switch_mirror(self, export_id: str) -> None:
        """See the contract. Clients' requests wait three seconds at most; ExportFailed if they had to wait longer."""
        self._command(export_id, do="switch")

    def end_mirror(self, export_id: str, source: Location) -> Location | None:
        """The server of a cancelled mirror goes on, also where the destination hangs, from which the cancel has taken its
        clients; one that does not answer is started again by the next repair. One without the channel, of an older version,
        mirrors nothing and goes on.
        """
        if (self._root / export_id / SOCKET).exists() and not self._is_cancelled(export_id):
            StateDir(self._root, export_id).end_process()
        return self.moved_to(export_id, source)

    def _is_cancelled(self, export_id: str) -> bool:
        """False where the server does not answer. ExportFailed where the destination does not: what hangs there would keep
        the server from its end, too.
        """
        for _ in range(_CANCEL_TRIES - 1):
            with contextlib.suppress(errors.ExportFailed):
                return self._cancel(export_id)
        return self._cancel(export_id)

    def _cancel(self, export_id: str) -> bool:
        """False where there is no answer, also not from a server that is started in the place of one that was killed."""
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._command(export_id, do="cancel")
            except errors.ExportFailed as error:
                if error.__cause__ is None:
                    raise
                is_hanging = isinstance(error.__cause__, TimeoutError) or time.monotonic() > end
                if is_hanging or StateDir(self._root, export_id).pid() is None:
                    return False
            else:
                return True
            time.sleep(_POLL_SECONDS)

    def moved_to(self, export_id: str, source: Location) -> Location | None:
        """The location in the record beside the export's folder; ExportFailed when the record is damaged."""
        try:
            found = moved.destination_of(self._root / export_id, source.to_json())
        except (OSError, ValueError) as error:
            raise errors.ExportFailed(export=export_id, reason=f"where its volume is: {error}") from error
        return None if found is None else Location.from_json(found)

    def records(self) -> dict[str, tuple[Location, Location]]:
        """One that is damaged is none of these: who needs it reads it by `moved_to`."""
        found = moved.records(self._root)
        return {id: (Location.from_json(source), Location.from_json(there)) for id, (source, there) in found.items()}

    def forget_move(self, export_id: str) -> None:
        """Write the new location to the spec, for a server that is started again, and then remove the record."""
        state = StateDir(self._root, export_id)
        spec = state.read()
        if spec is None and state.spec_path.exists():
            raise errors.ExportFailed(
                export=export_id, reason="its spec, which is to have the new place, cannot be read"
            )
        if spec:
            state.rewrite(spec)  # an export that is detached meanwhile needs none
        moved.forget(state.path)

    def _command(self, export_id: str, **request: Any) -> dict[str, Any]:
        return command(self._root, export_id, ANSWER_SECONDS, **request)
