"""A redirect: what the export of a volume that went to another host says to clients that come to its former address.

It is a server like the one before, at the same address and with the same key, whose location is that of another NBD server.
NBD itself knows no redirect, so the volume's export is refused, and NBD_OPT_LIST has one more, NAME.moved, without a byte,
whose description is the URI where the volume is now. connectors/redirected.py reads it, and people do by `nbdinfo --list`.

A volume that is on its way to this host has one, too (`prepare`): when it is here, the server only changes its callbacks.
"""

import errno
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nbdsvc.exports.nbd.channel import Channel, send

# The address while the volume is on its way. No server is there: .invalid is reserved (RFC 2606).
ON_ITS_WAY = "nbd://moving.invalid/"
# Agents of other versions read these: they stay.
SUFFIX, MOVED, MOVING = ".moved", "moved to ", "moving to another host"


def is_redirect(location: Mapping[str, Any]) -> bool:
    """Whether a note's location is that of a volume at another host."""
    return bool(location.get("scheme") == "nbd")


class Redirect(Channel):
    """Where the volume is, in the server's memory: without a new start of the server, for which clients would wait.

    The commands of its private channel (channel.py):

    redirect  uri   the volume is there
    serve           it is here: the spec has its place, and the server serves it from now on
    cancel          nothing: no mirror is left
    """

    def __init__(self, folder: Path, address: str, serve: Callable[[], None]) -> None:
        super().__init__(folder)
        self._address, self._serve_volume = address, serve

    @property
    def text(self) -> str:
        return MOVING if self._address == ON_ITS_WAY else f"{MOVED}{self._address}"

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            wanted = json.loads(request)
            if wanted["do"] == "redirect":
                self._address = str(wanted["uri"])
            elif wanted["do"] == "serve":
                self._serve_volume()
            elif wanted["do"] != "cancel":
                return {"error": "its volume is at another host"}
        except Exception as error:  # the channel must outlive every request
            return {"error": f"the request fails: {error!r}"}
        return {"state": "none"}

    def _hold(self, sock: socket.socket, _request: dict[str, Any]) -> None:
        send(sock, {"error": "its volume is at another host"})


def callbacks(
    spec: Mapping[str, Any], nbdkit: Any, door: Any, serve: Callable[[], None]
) -> dict[str, Callable[..., Any]]:
    """The callbacks of the plugin, in place of those that serve a volume, until it calls `serve`."""
    name = spec["name"] + SUFFIX
    state = Redirect(Path(spec["folder"]), str(spec["location"]["address"]), serve)

    def refuse(*_given: Any) -> Any:
        nbdkit.set_error(errno.ESHUTDOWN)
        raise OSError(errno.ESHUTDOWN, state.text)

    def enter(_readonly: int) -> str:
        door.enter()
        return name if nbdkit.export_name() == name else str(refuse())

    def no(_handle: str) -> bool:
        return False

    return {
        **dict.fromkeys(("can_write", "can_flush", "can_zero", "can_fast_zero", "can_trim", "can_extents"), no),
        **dict.fromkeys(("can_multi_conn", "is_rotational"), no),
        **dict.fromkeys(("can_fua", "can_cache", "get_size"), lambda _handle: 0),
        **dict.fromkeys(("pread", "pwrite", "zero", "trim", "flush", "cache", "extents"), refuse),
        "list_exports": lambda _readonly, _is_tls: [(name, state.text)],
        "default_export": lambda _readonly, _is_tls: "",
        "open": enter,
        "close": lambda _handle: None,
        "export_description": lambda _handle: state.text,
        "begin": state.listen,
    }
