"""Where the volume of an export is that went to another host: what the export's former address says (docs/mirroring.md).

Read by `nbdinfo`, because the text is behind TLS with the attachment's key, which Python's TLS cannot use.
"""

import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

# See exports/nbd/redirect.py.
_SUFFIX, _MOVED, _MOVING = ".moved", "moved to ", "moving to another host"
# Seconds. A running server answers within this time, also on a loaded host.
ANSWER_SECONDS = 10.0


class MovingError(Exception):
    """The volume is on its way, and no server has it now."""


def look(nbdinfo: str, uri: str, export: str) -> str | None:
    """The URI where the export's volume is now; None where this is it. uri: with the file of the key, where there is one.
    nbdinfo: the path of that program.

    Raises MovingError; OSError where the server does not answer.
    """
    argv = [nbdinfo, "--list", "--json", uri]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=ANSWER_SECONDS, check=False, stdin=subprocess.DEVNULL)
        found = json.loads(done.stdout) if done.returncode == 0 else {}
    except (subprocess.SubprocessError, ValueError) as error:
        raise OSError(f"the server does not say what it exports: {error}") from error
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip()[-300:] or "nbdinfo failed")
    return _parse(found, export + _SUFFIX)


def _parse(found: dict[str, Any], name: str) -> str | None:
    for each in found.get("exports", ()):
        text = str(each.get("description", ""))
        if each.get("export-name") != name:
            continue
        if text == _MOVING:
            raise MovingError
        if text.startswith(_MOVED) and urlsplit(text.removeprefix(_MOVED)).scheme in ("nbd", "nbds"):
            return text.removeprefix(_MOVED)
    return None
