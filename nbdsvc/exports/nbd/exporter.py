"""NBD exports: one nbdkit process per attachment, so that the end of a process ends an attachment's access."""

import contextlib
import re
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbdsvc import errors, process
from nbdsvc.exporter import Access, ConnectionInfo, Connector, ExportSpec, Health, Inventory, check_scheme
from nbdsvc.exports.nbd import connection, limits, moved, processes
from nbdsvc.exports.nbd.command import launch_command, pythonpath
from nbdsvc.exports.nbd.holds import Holds
from nbdsvc.exports.nbd.leaving import Leaving
from nbdsvc.exports.nbd.limiting import Limiting
from nbdsvc.exports.nbd.redirect import ON_ITS_WAY, is_redirect
from nbdsvc.exports.nbd.state_dir import StateDir, export_of
from nbdsvc.exports.note_version import VERSION, check_version, is_at, noted_location
from nbdsvc.location import Location
from nbdsvc.model import names

# Bytes of the longest path of a unix socket that fits into sockaddr_un with its final zero (unix(7)).
SOCKET_PATH_MAX = 107
# Seconds in which a running server answers a handshake. On an emulated machine under load a server took more than 5 s
# to start, and a slow server that is taken for a dead one would be killed while clients use it.
ANSWER_SECONDS = 30.0
NBD_MAGIC = b"NBDMAGIC"
# Keys of a note that matter to clients, besides the location.
_SERVED = ("volume_id", "read_only", "write_through", "tcp", "tls", "host", "filters", "filter_args")
# Exports that this process has removed, of which it is known that no server is left: more than end at once.
_REMOVED_KEPT = 1000
_ATTACHMENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NbdExporter(Leaving, Holds, Limiting):
    """See nbdsvc/exporter.py for the contract.

    host_name: connectors on this host get the unix socket, others TCP. listen_address: the address of TCP sockets; None
    refuses remote connectors. tcp_ports: first and last port of the range. filters, filter_args: nbdkit filters in
    front of every export, with their arguments, for tests. tls: exports on the network require TLS with the
    attachment's key; without it, every host that reaches the port has the volume, which is safe only on a separate
    network. write_through: exports on the network answer a write when it is on stable storage, because their clients
    survive a crash of this host (native/serve/vol.h).
    """

    protocol = "nbd"

    def __init__(
        self,
        exports_folder: Path,
        host_name: str,
        listen_address: str | None = None,
        tcp_ports: tuple[int, int] = (10810, 11809),
        filters: Iterable[str] = (),
        filter_args: Iterable[str] = (),
        runner: process.Runner | None = None,
        *,
        tls: bool = True,
        write_through: bool = True,
    ) -> None:
        self._root = exports_folder
        self._host_name = host_name
        self._address = listen_address
        self._tls = tls
        self._write_through = write_through
        self._ports = tcp_ports
        self._filters = list(filters)
        self._filter_args = list(filter_args)
        self._runner = runner or process.Runner(tries=1)
        self._removed: deque[str] = deque(maxlen=_REMOVED_KEPT)
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        longest = len(str(self._root)) + 1 + 36 + len("/nbd.sock")
        if longest > SOCKET_PATH_MAX:
            raise errors.ConfigError(
                setting="state_dir",
                reason=f"a socket below {self._root} would have {longest} characters, not {SOCKET_PATH_MAX}",
            )

    def accept(self, connector: Connector, location: Location) -> Access:
        """The unix socket for an initiator on this host, else TCP; the connector's `nbd_transport` overrides this."""
        check_scheme(self.protocol, location)
        if not connector.host:
            raise errors.InvalidInput(field="connector.host", value=None, reason="NBD needs the initiator's host name")
        network = connector.nbd_transport == "tcp" if connector.nbd_transport else connector.host != self._host_name
        if network and self._address is None:
            raise errors.InvalidInput(
                field="connector.host",
                value=connector.host,
                reason=f"it is not {self._host_name}, and this service does not export over the network (nbd_listen)",
            )
        return Access(network=network, needs_secret=self._tls and network, peer=connector.ip)

    def ensure(self, spec: ExportSpec) -> ConnectionInfo:
        """See the contract. A server that serves as desired keeps running, also one that an older version started."""
        state = StateDir(self._root, spec.id)
        wanted, found = self._describe(spec), self._note(state)
        wanted["location"] = (self.moved_to(spec.id, spec.location) or spec.location).to_json()
        wanted["port"] = spec.port or (found or {}).get("port")
        serves = found and _serves(found, wanted) and self._fault(state) == "" and self._is_limited(spec)
        if not (serves or self._arrive(state, found, wanted, spec)):
            self._start(state, wanted, spec.secret, spec.limits)
        return self._info(state, network=spec.access.network)

    def prepare(self, spec: ExportSpec) -> bool:
        """See the contract: a redirect that says that the volume is on its way."""
        state = StateDir(self._root, spec.id)
        if self._note(state) is not None:
            return False
        on_its_way = {"location": Location("nbd", ON_ITS_WAY).to_json(), "port": None}
        self._start(state, self._describe(spec) | on_its_way, spec.secret, {})
        return True

    def redirect(self, export_id: str, uri: str) -> None:
        """See the contract. By the export's own note, with its port and key: nothing where there is none."""
        state = StateDir(self._root, export_id)
        found = self._note(state)
        if found is None or not is_redirect(found.get("location", {})):
            return
        programs = {"nbdkit": process.resolve("nbdkit"), "pythonpath": pythonpath()}
        wanted = {**found, **programs, "location": Location("nbd", uri).to_json()}
        is_right = found["location"] == wanted["location"] and self._fault(state) == ""
        if not (is_right or self._lead(state, wanted)):
            self._start(state, wanted, state.secret() if found["tls"] else None, {})
        (state.path / limits.FILE).unlink(missing_ok=True)  # a redirect has no requests to limit
        moved.forget(state.path)

    def _arrive(self, state: StateDir, found: dict[str, Any] | None, wanted: dict[str, Any], spec: ExportSpec) -> bool:
        """Let the server of a redirect serve the volume, which is here now. False where there is none that can: written by an
        older version, for other clients, or dead.
        """
        if found is None or not is_redirect(found.get("location", {})) or found["port"] != wanted["port"]:
            return False
        is_same = _serves(found, wanted | {"location": found["location"]})
        if not is_same or (spec.secret is not None and state.secret() != spec.secret):
            return False
        limits.write(state.path, spec.limits)
        try:
            return state.rewrite(wanted) and self._command(spec.id, do="serve") is not None
        except errors.ExportFailed:
            return False

    def remove(self, export_id: str) -> None:
        """End every server of the export, also one without a note. A detach removes twice (OperationType.first): the second
        time nothing is there, and no scan of all processes has to say so.
        """
        state = StateDir(self._root, export_id)
        if export_id in self._removed and not state.path.exists():
            return
        note = state.read() or {}
        is_gone = state.end_process()
        state.remove()
        self._forget_limits(note.get("volume_id"))
        if is_gone and export_id not in self._removed:
            self._removed.append(export_id)

    def resize(self, export_id: str, size: int) -> None:
        """Do nothing: each new client gets the volume's present size, and a client of `growing_name` has no limit."""

    def health(self, export_id: str) -> Health:
        """Whether the export's server greets or is busy; waits at most ANSWER_SECONDS for the greeting."""
        return Health(self._fault(StateDir(self._root, export_id)))

    def inventory(self) -> Inventory:
        """Exports with a folder, and exports with only a server. A name that is no attachment's id is foreign."""
        there = {export_of(path) for path in self._root.iterdir() if path.is_dir()} | set(processes.serving(self._root))
        return Inventory(tuple(sorted(name for name in there if _ATTACHMENT.fullmatch(name))))

    def find(self, export_id: str) -> tuple[ExportSpec, ConnectionInfo] | None:
        state = StateDir(self._root, export_id)
        note = self._note(state)
        if note is None or is_redirect(note.get("location", {})):
            return None
        access = Access(network=note["tcp"], needs_secret=note["tls"])
        spec = ExportSpec(export_id, note["volume_id"], noted_location(note), access, note["read_only"],
                          state.secret() if note["tls"] else None, note.get("port"))  # fmt: skip
        return spec, self._info(state, network=note["tcp"])

    @staticmethod
    def with_secret(info: ConnectionInfo, secret: str) -> ConnectionInfo:
        """Returns the connection_info with the pre-shared key of TLS, where the export requires one."""
        return replace(info, data={**info.data, "tls_psk_key": secret}) if info.data.get("tls") else info

    def _info(self, state: StateDir, *, network: bool) -> ConnectionInfo:
        """The connection_info of the export. ExportFailed when its server does not run."""
        note = self._note(state)
        if note is None or state.pid() is None:
            raise errors.ExportFailed(export=state.id, reason=state.log_tail() or "its server does not run")
        if network and note.get("port") is None:
            raise errors.ExportFailed(export=state.id, reason="it does not listen on the network")
        return connection.info(state.id, note, None if network else state.socket)

    def _describe(self, spec: ExportSpec) -> dict[str, Any]:
        check_scheme(self.protocol, spec.location)
        if spec.access.network and self._tls and not spec.secret:
            raise errors.ExportFailed(export=spec.id, reason="an export on the network needs a key")
        return {
            "version": VERSION,
            "id": spec.id,
            "volume_id": spec.volume_id,
            "location": spec.location.to_json(),
            "read_only": spec.read_only,
            "write_through": spec.access.network and self._write_through,
            "tcp": spec.access.network,
            "tls": spec.secret is not None,
            "host": self._address,
            "ports": list(self._ports),
            "name": names.export_name(spec.volume_id),
            "growing_name": names.growing_name(names.export_name(spec.volume_id)),
            "description": f"nbdsvc volume {spec.volume_id}{' (read only)' if spec.read_only else ''}",
            "nbdkit": process.resolve("nbdkit"),
            "pythonpath": pythonpath(),
            "filters": self._filters,
            "filter_args": self._filter_args,
        }

    def _note(self, state: StateDir) -> dict[str, Any] | None:
        note = state.read()
        if note is not None:
            check_version(state.id, note)
        return note

    def _fault(self, state: StateDir) -> str:
        """Empty when the keeping shell runs, and the server answers or uses processor time; else the fault.

        So a busy server works, and a stopped one does not. A server that closes new connections at once (door.py) is
        full.
        """
        if state.read() is None or state.pid() is None:
            return "its server does not run"
        before = processes.cpu_ticks(processes.serving(self._root).get(state.id, set()))
        try:
            lives = _greeting(state.socket) in (NBD_MAGIC, b"") and state.pid() is not None
        except TimeoutError:
            lives = processes.cpu_ticks(processes.serving(self._root).get(state.id, set())) > before
        except ConnectionResetError:
            lives = state.pid() is not None
        except OSError:
            lives = False
        return "" if lives else "its server does not answer"

    def _start(self, state: StateDir, spec: dict[str, Any], secret: str | None, limited: Mapping[str, int]) -> None:
        """Start a server. After a failure an export with a port keeps its note, so that no other gets the port."""
        with contextlib.suppress(ValueError):
            self._removed.remove(state.id)
        state.end_process()
        # No fsync for a new export: no initiator knows it yet, and the note is written again with the port.
        state.write(spec, secret, durable=spec["port"] is not None)
        limits.write(state.path, limited)
        try:
            port = self._launch(state, spec)
        except errors.CommandFailed as error:
            if spec["port"] is None:
                state.remove()
            raise errors.ExportFailed(export=state.id, reason=error.stderr or "it could not be started") from error
        if not _answers(state.socket, lambda: state.pid() is not None):
            log = state.log_tail()
            state.end_process()
            raise errors.ExportFailed(export=state.id, reason=log or "it does not answer")
        found = int(port) if port.isdigit() else None
        if found is None or found != spec["port"]:
            state.write({**spec, "port": found}, secret)

    def _launch(self, state: StateDir, spec: dict[str, Any]) -> str:
        """Start the daemon and return its output, the TCP port.

        Where systemd runs, the daemon gets a scope: without one it would be in the service's control group, and be
        killed at a restart of the service. It is a scope and no service unit, so that the command ends when the sockets
        listen, and returns errors and the port as without systemd. A shutdown of the host kills it, see
        StateDir.end_process.
        """
        command = launch_command(state, spec)
        if Path("/run/systemd/system").is_dir():
            scope = f"--unit=nbdsvc-export-{state.id}.scope"
            command = ["systemd-run", "--quiet", "--scope", "--collect", scope,
                       "--property=KillSignal=SIGKILL", *command]  # fmt: skip
        return self._runner.run(command, timeout=30, leaves_server=True).stdout.strip()


def _serves(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a server that was started with the note `found` serves as `wanted`. Keys that an older note lacks, and
    keys that only matter at a start (paths of programs, the range of ports), do not end a running server."""
    keys = [key for key in _SERVED if key != "host" or wanted["tcp"]]
    is_same_volume = is_at(found, Location.from_json(wanted["location"]))
    return is_same_volume and all(found.get(key, wanted[key]) == wanted[key] for key in keys)


def _greeting(path: Path) -> bytes:
    """The first 8 bytes from a server; empty when it closes the connection. OSError; TimeoutError when it is silent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(str(path))
        return sock.recv(8)


def _answers(path: Path, alive: Any = lambda: True) -> bool:
    """Whether a server greets on the socket within ANSWER_SECONDS."""
    try:
        return _greeting(path) == NBD_MAGIC and bool(alive())
    except OSError:
        return False
