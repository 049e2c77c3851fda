"""The service's half of holding an export's writers: one connection to its server's private channel (control.py) a hold."""

import json
import socket
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.exports.nbd.channel import SOCKET, line, send

# Seconds beyond those of the hold in which a server says how it ended: it has nothing to do then.
_MORE_SECONDS = 5.0


class Holds:
    """See HoldingExporter in nbdsvc/exporter.py for the contract."""

    _root: Path

    def hold_writes(self, export_id: str, seconds: float) -> "Hold":
        """ExportFailed also for a server of an older version, which knows no holds."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds + _MORE_SECONDS)
            sock.connect(str(self._root / export_id / SOCKET))
            send(sock, {"do": "hold", "hold_ms": int(seconds * 1000)})
            answer = _answer(sock)
        except (OSError, ValueError) as error:
            sock.close()
            reason = f"its server does not hold its writers: {error}"
            raise errors.ExportFailed(export=export_id, reason=reason) from error
        if answer.get("state") != "held":
            sock.close()
            raise errors.ExportFailed(export=export_id, reason=str(answer.get("error")))
        return Hold(sock)


class Hold:
    """A hold by a connection, with which it ends."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held: bool | None = None

    def release(self) -> bool:
        """See WriteHold."""
        if self._held is None:
            with self._sock:
                try:
                    self._sock.sendall(b"\n")
                    self._held = _answer(self._sock).get("state") == "released"
                except (OSError, ValueError):
                    self._held = False
        return self._held


def _answer(sock: socket.socket) -> dict[str, Any]:
    return dict(json.loads(line(sock)))
