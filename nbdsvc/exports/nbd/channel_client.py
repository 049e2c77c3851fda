"""One command to the server of an export, by its private channel (control.py)."""

import json
import socket
from pathlib import Path
from typing import Any

from nbdsvc import errors
from nbdsvc.exports.nbd.channel import SOCKET


def command(root: Path, export_id: str, seconds: float, /, **request: Any) -> dict[str, Any]:
    """The server's reply. root: the folder of exports. ExportFailed for a refusal; with a cause where there was no reply
    within `seconds`.
    """
    try:
        answer = json.loads(_ask(root / export_id / SOCKET, seconds, json.dumps(request).encode() + b"\n"))
    except (OSError, ValueError) as error:
        reason = f"its server does not take the command {request['do']}: {error}"
        raise errors.ExportFailed(export=export_id, reason=reason) from error
    if "error" in answer:
        raise errors.ExportFailed(export=export_id, reason=str(answer["error"]))
    return dict(answer)


def _ask(path: Path, seconds: float, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(seconds)
        sock.connect(str(path))
        sock.sendall(line)
        return b"".join(iter(lambda: sock.recv(1 << 16), b""))
