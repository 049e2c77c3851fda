"""The private channel of a server: a unix socket in the export's folder. By it the service mirrors and moves the
volume.

The plugin loads this module into nbdkit. A connection has one request (a JSON object with the key `do`) and one reply;
the reply of a refusal or failure is `{"error": message}`. Only this user can open the socket, and NBD clients cannot.

    start    destination, is_zero, rate   start a mirror (native/serve/mirror.h); the reply comes when writes go to both.
                                          `uri` of the destination, where it is another host's export
    status                                state; done, size: bytes
    limit    rate                         bytes a second of the copy, 0: no limit
    cancel                                end the mirror; the source stays the volume
    switch   hold_ms, seconds             the destination becomes the volume; clients stay connected. Refused after `seconds`
                                          without a certain record: commands that depend on it are refused until it is.
                                          Where it is another host's export, this server kills itself behind the record,
                                          and there is no reply
    hold     hold_ms                      clients' requests wait until the connection has another line or ends
    limit_clients  limits                 the limits of the volume's clients (limits.py), also of its other servers here
    limits                                the limits that they have now

The reply to a hold comes when no request is under way, a second one at its end: whether requests have waited all the time.
A hold ends with its connection, and so with the process that requested it; no mirror begins, ends or switches meanwhile.

A switch is decided by a record beside the export's folder (moved.py): without the record the source is the volume, with
it the destination, at whatever moment a process dies. The record is written while both places are equal, and have whatever
is answered: however long the disk of the record takes, or should it hang, requests go on.
"""

import errno
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from nbdsvc._native import ffi, lib
from nbdsvc.exports.nbd import limits, moved
from nbdsvc.exports.nbd.channel import Channel, line, send

# Connections to another host's export: as many as a copy between hosts has.
_CONNECTIONS = 4
# Milliseconds that requests wait at most while a mirror comes or goes.
_HOLD_MS = 3000
# How often requests are held so long for the last part of a switch, and the seconds between; then the server starts anew, at
# the destination. Shorter together than the service waits for the answer (mirrors.py).
_HOLDS, _BETWEEN_SECONDS = 3, 1.0
# How long the answer to a switch waits for its record: shorter than the service waits for the answer (mirrors.py).
_RECORD_SECONDS = 20.0
_MALFORMED = "the request is malformed: {!r}"
_BUSY = "its writers are held already, or its mirror changes now"
# Commands that leave the gate alone.
_ALWAYS = ("status", "limit", "limit_clients", "limits")
_STATES = ("copying", "synchronised", "failed")
_REFUSALS = {11: "the mirror is not synchronised", 110: "requests under way did not end in time",
             27: "the volume has grown since the mirror began", 28: "the destination is smaller than the volume"}  # fmt: skip


class Refused(Exception):
    """A command was refused or failed; the text is the message for the service."""


class ServedVolume(NamedTuple):
    """The volume in the plugin. served: returns the volume that all writers share, and makes it at the first call.
    open: opens a path, read-only if the second argument is true. readers: the read-only opens, which `lock` protects.
    limits: of its clients.
    """

    served: Callable[[], Any]
    open: Callable[[str, bool], Any]
    readers: set[Any]
    lock: Any
    limits: Any


class _Switch(threading.Thread):
    """What of a switch takes as long as the disk of the record: the channel answers meanwhile. error: its failure."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="switch", daemon=True)
        self._work = work
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:  # without it, the answer would be that the volume has moved
            self.error = error


class Control(Channel):
    """Serves the channel on a thread of its own. spec: the export's, whose location a switch changes."""

    def __init__(self, spec: dict[str, Any], volume: ServedVolume) -> None:
        super().__init__(Path(spec["folder"]))
        self._spec, self._volume = spec, volume
        self._destination: dict[str, Any] | None = None
        self._gate = threading.Lock()  # of the volume's gate, which one at a time closes
        self._switching: _Switch | None = None
        # Held while the mirror is looked at, and while a switch, on its own thread, removes it.
        self._looking = threading.Lock()

    def _hold(self, sock: socket.socket, request: dict[str, Any]) -> None:
        """The gate opens whatever happens here."""
        if not self._gate.acquire(blocking=False):
            send(sock, {"error": _BUSY})
            return
        try:
            self._check_decided()
            hold_ms = int(request["hold_ms"])
            _check(lib.nbdsvc_served_hold(self._volume.served(), hold_ms))
            end = self._wait(sock, hold_ms)
        except (Refused, OSError) as error:
            end = {"error": str(error)}
        except Exception as error:
            end = {"error": _MALFORMED.format(error)}
        finally:
            self._gate.release()
        send(sock, end)

    def _wait(self, sock: socket.socket, hold_ms: int) -> dict[str, Any]:
        """Until the other end says something, is gone, or the time is over. Returns the second reply."""
        result = 0
        try:
            send(sock, {"state": "held"})
            sock.settimeout(hold_ms / 1000)
            line(sock)
        finally:
            result = lib.nbdsvc_served_release(self._volume.served())
        return {"state": "released"} if result == 0 else {"error": "requests went on before the end of the hold"}

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = {"start": self._start, "status": self._status, "limit": self._limit, "cancel": self._cancel,
                       "switch": self._switch, "limit_clients": self._limit_clients,
                       "limits": self._limits}[request["do"]]  # fmt: skip
            if request["do"] in _ALWAYS:
                return command(request)
            if not self._gate.acquire(blocking=False):
                raise Refused(_BUSY)
            try:
                return command(request)
            finally:
                self._gate.release()
        except (Refused, OSError) as error:
            return {"error": str(error)}
        except Exception as error:  # the channel must outlive every request
            return {"error": _MALFORMED.format(error)}

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        destination = request["destination"]
        self._check_decided()
        if "location" not in self._spec or destination["scheme"] not in ("file", "block", "nbd"):
            raise Refused(f"this server cannot mirror to a {destination['scheme']} location")
        if lib.nbdsvc_served_mirror_of(self._volume.served()) != ffi.NULL:
            raise Refused("its volume is mirrored already")
        is_zero, rate = bool(request["is_zero"]), int(request.get("rate", 0))
        second = self._second(destination, request.get("uri"))
        with self._looking:  # a mirror that cannot begin is freed
            _check(lib.nbdsvc_served_mirror(self._volume.served(), second, is_zero, rate, _HOLD_MS))
        self._destination = destination
        return self._status(request)

    def _second(self, destination: dict[str, Any], uri: Any) -> Any:
        """The destination, opened: a volume of this host, or the export of another one."""
        made, message = ffi.new("struct nbdsvc_second **"), ffi.new("struct nbdsvc_message *")
        if destination["scheme"] != "nbd":
            _check(lib.nbdsvc_second_create(self._volume.open(destination["address"], False), made))
            return made[0]
        result = lib.nbdsvc_second_connect(str(uri).encode(), _CONNECTIONS, message, made)
        if result < 0:
            raise Refused(ffi.string(message.text).decode(errors="replace") or os.strerror(-result))
        return made[0]

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        now, served = ffi.new("struct nbdsvc_mirror_progress *"), self._volume.served()
        with self._looking:
            mirror = lib.nbdsvc_served_mirror_of(served)
            if mirror == ffi.NULL:
                return {"state": "none"}
            lib.nbdsvc_mirror_progress(mirror, now)
        found = {"state": _STATES[now.state], "done": int(now.done), "size": int(now.size)}
        if now.state == _STATES.index("failed"):
            side = "the source" if now.while_reading else "the destination"
            found["reason"] = f"{side}, at byte {int(now.offset)}: {os.strerror(now.error)}"
        return found

    def _limit(self, request: dict[str, Any]) -> dict[str, Any]:
        rate, served = int(request["rate"]), self._volume.served()
        with self._looking:
            mirror = lib.nbdsvc_served_mirror_of(served)
            if mirror == ffi.NULL:
                raise Refused("its volume is not mirrored")
            lib.nbdsvc_mirror_set_rate(mirror, rate)
        return self._status(request)

    def _limit_clients(self, request: dict[str, Any]) -> dict[str, Any]:
        limits.set_limits(self._volume.limits, request["limits"])
        return self._limits(request)

    def _limits(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"limits": limits.limits_of(self._volume.limits)}

    def _cancel(self, _request: dict[str, Any]) -> dict[str, Any]:
        self._check_decided()
        with self._looking:  # the mirror is freed
            _check(lib.nbdsvc_served_unmirror(self._volume.served(), _HOLD_MS))
        return {"state": "none"}

    def _switch(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check_decided()
        destination, served = self._destination, self._volume.served()
        if destination is None or self._status(request)["state"] == "none":
            raise Refused("its volume is not mirrored")
        hold_ms = int(request.get("hold_ms", _HOLD_MS))
        result = lib.nbdsvc_served_bind(served, hold_ms)
        if result < 0 and (now := self._status(request))["state"] == "failed":
            raise Refused(f"the mirror has failed: {now['reason']}")
        _check(result)
        self._switching = _Switch(lambda: self._go_on_at(served, destination, hold_ms))
        try:
            self._switching.start()
        except RuntimeError:  # no thread is left: writes must not wait for what is never decided
            lib.nbdsvc_served_decide(served, False)
            raise
        self._switching.join(float(request.get("seconds", _RECORD_SECONDS)))
        self._check_decided()
        if self._switching.error is not None:
            raise self._switching.error
        return {"state": "switched"}

    def _check_decided(self) -> None:
        if self._switching is not None and self._switching.is_alive():
            raise Refused("the record of its switch is being written, on a disk that does not answer")

    def _go_on_at(self, served: Any, destination: dict[str, Any], hold_ms: int) -> None:
        if destination["scheme"] == "nbd":
            self._leave(destination)
        self._record(served, destination)
        self._adopt(served, destination, hold_ms)

    def _leave(self, destination: dict[str, Any]) -> None:
        """Another host goes on, and this server never writes again. What it has answered is at both places, and what it has
        not is repeated there: it ends while they are bound, and its keeping shell starts one that says where the volume is.
        """
        try:
            moved.record(self._folder, self._spec["location"], destination)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)

    def _record(self, served: Any, destination: dict[str, Any]) -> None:
        """A record that is neither certain nor gone decides at the next start of a server, which therefore comes before the
        next write.
        """
        try:
            moved.record(self._folder, self._spec["location"], destination)
        except BaseException:
            if moved.is_recorded(self._folder):
                os.kill(os.getpid(), signal.SIGKILL)
            lib.nbdsvc_served_decide(served, False)
            raise
        lib.nbdsvc_served_decide(served, True)

    def _adopt(self, served: Any, destination: dict[str, Any], hold_ms: int) -> None:
        """Serve the destination from now on: after the record, the source is stale. When this fails, the server kills
        itself, and its keeping shell starts one that reads the record.
        """
        try:
            with self._volume.lock:
                for reader in self._volume.readers:  # both places have the same bytes: readers may change at any time
                    vol = self._volume.open(destination["address"], True)
                    _check(lib.nbdsvc_vol_adopt(reader, vol))
                    lib.nbdsvc_vol_destroy(vol)
                self._switch_writers(served, hold_ms)
                self._spec["location"], self._destination = destination, None
        except BaseException:
            os.kill(os.getpid(), signal.SIGKILL)
            raise

    def _switch_writers(self, served: Any, hold_ms: int) -> None:
        result = lib.nbdsvc_served_pause(served, hold_ms)
        for _ in range(_HOLDS - 1):
            if result != -errno.ETIMEDOUT:
                break
            time.sleep(_BETWEEN_SECONDS)
            result = lib.nbdsvc_served_pause(served, hold_ms)
        _check(result)
        try:
            with self._looking:
                _check(lib.nbdsvc_served_switch(served))
        finally:
            lib.nbdsvc_served_resume(served)


def _check(result: int) -> None:
    if result < 0:
        raise Refused(_REFUSALS.get(-result, os.strerror(-result)))
