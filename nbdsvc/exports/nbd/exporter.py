"""NBD exports: one nbdkit process per attachment, so that ending an attachment's access is ending a process."""

import os
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbdsvc import errors, process
from nbdsvc.exporter import ConnectionInfo, Export, ExportSpec
from nbdsvc.exports.nbd import processes
from nbdsvc.exports.nbd.state_dir import ExportFolder
from nbdsvc.model import names

# A unix socket's path must fit into sockaddr_un with its final zero (unix(7)).
SOCKET_PATH_MAX = 107
# Handshakes of a server that lives answer within this. An emulated machine under load took more than 5 s to start one, and
# to take a slow server for a dead one would end it under its users.
ANSWER_SECONDS = 30.0
NBD_MAGIC = b"NBDMAGIC"
_ATTACHMENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NbdExporter:
    """See nbdsvc/exporter.py for the contract.

    host_name: connectors on this host get the unix socket, others TCP. listen_address: where TCP listens; None refuses
    remote connectors. tcp_ports: first and last port of the range. filters: nbdkit filters in front of every export, for
    tests of what is behind it, with their arguments. tls: exports on the network ask for TLS with the attachment's key;
    without it whoever reaches the port has the volume, which only a network of its own makes right. write_through: they
    answer a write when it is on stable storage, because their clients outlive this host (native/vol.h).
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
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        longest = len(str(self._root)) + 1 + 36 + len("/nbd.sock")
        if longest > SOCKET_PATH_MAX:
            raise errors.ConfigError(
                setting="state_dir",
                reason=f"a socket below {self._root} would have {longest} characters, not {SOCKET_PATH_MAX}",
            )

    def validate_connector(self, connector: dict[str, Any]) -> None:
        if not isinstance(connector.get("host"), str) or not connector["host"]:
            raise errors.InvalidInput(field="connector.host", value=None, reason="NBD needs the initiator's host name")
        for key in ("initiator", "ip", "nbd_transport"):
            if connector.get(key) is not None and not isinstance(connector[key], str):
                raise errors.InvalidInput(field=f"connector.{key}", value=None, reason="must be a string")
        if self.needs_tcp(connector) and self._address is None:
            raise errors.InvalidInput(
                field="connector.host",
                value=connector["host"],
                reason=f"it is not {self._host_name}, and this service does not export over the network (nbd_listen)",
            )

    def needs_tcp(self, connector: dict[str, Any]) -> bool:
        """True for an initiator on another host, or one that asks for `nbd_transport: tcp`."""
        asked = connector.get("nbd_transport")
        return asked == "tcp" if asked else connector.get("host") != self._host_name

    def needs_secret(self, connector: dict[str, Any]) -> bool:
        return self._tls and self.needs_tcp(connector)

    def shared_by(self, connector: dict[str, Any]) -> str | None:
        """Nobody: each attachment has a server of its own."""
        return None

    def healthy(self, export_id: str) -> bool:
        return self._lives(ExportFolder(self._root, export_id))

    def create_export(self, spec: ExportSpec) -> Export:
        folder = ExportFolder(self._root, spec.id)
        wanted = self._describe(spec)
        found = folder.read()
        if not (found and self._same(found, wanted) and self._lives(folder)):
            self._start(folder, wanted | {"port": spec.port or (found or {}).get("port")}, spec.secret)
        return self._export(folder)

    def ensure_export(self, spec: ExportSpec) -> bool:
        folder = ExportFolder(self._root, spec.id)
        before = folder.pid()
        self.create_export(spec)
        return folder.pid() != before

    def remove_export(self, export_id: str) -> None:
        folder = ExportFolder(self._root, export_id)
        folder.end_process()
        folder.remove()

    def list_exports(self) -> list[str]:
        """Those that have a folder, and those that only have a server. What no attachment is named as is somebody else's."""
        there = {path.name for path in self._root.iterdir() if path.is_dir()} | set(processes.serving(self._root))
        return sorted(name for name in there if _ATTACHMENT.fullmatch(name))

    def noted(self, export_id: str) -> ExportSpec | None:
        folder = ExportFolder(self._root, export_id)
        spec = folder.read()
        if spec is None:
            return None
        secret = folder.psk_path.read_text().strip().partition(":")[2] if spec["tls"] else None
        return ExportSpec(export_id, spec["volume_id"], Path(spec["path"]), spec["read_only"], spec["tcp"], secret,
                          port=spec["port"])  # fmt: skip

    def refresh(self, export_id: str) -> None:
        """Nothing to do: whoever connects asks the volume for its size, and who came by `growing_name` has no bound."""

    def initialize_connection(self, spec: ExportSpec, connector: dict[str, Any]) -> ConnectionInfo:
        self.validate_connector(connector)
        export = self._export(ExportFolder(self._root, spec.id))
        over_tcp = self.needs_tcp(connector)
        if over_tcp and export.port is None:
            raise errors.ExportFailed(export=spec.id, reason="it does not listen on the network")
        data = {
            "volume_id": spec.volume_id,
            "export": export.name,
            "uri": _uri(export, spec.secret is not None, over_tcp),
            "unix_socket": None if over_tcp else str(export.unix_socket),
            "host": export.host if over_tcp else None,
            "port": export.port if over_tcp else None,
            "tls": spec.secret is not None,
            "tls_psk_username": spec.id if spec.secret else None,
            "tls_psk_key": spec.secret,
            "access_mode": "ro" if spec.read_only else "rw",
            "target_discovered": False,
            "discard": True,
            "logical_block_size": 512,
            "physical_block_size": 4096,
        }
        return ConnectionInfo("nbd", data)

    def _describe(self, spec: ExportSpec) -> dict[str, Any]:
        if spec.tcp and self._tls and not spec.secret:
            raise errors.ExportFailed(export=spec.id, reason="an export on the network needs a key")
        return {
            "id": spec.id,
            "volume_id": spec.volume_id,
            "path": str(spec.path),
            "read_only": spec.read_only,
            "write_through": spec.tcp and self._write_through,
            "tcp": spec.tcp,
            "tls": spec.secret is not None,
            "host": self._address,
            "ports": list(self._ports),
            "name": names.export_name(spec.volume_id),
            "growing_name": names.growing_name(names.export_name(spec.volume_id)),
            "description": f"nbdsvc volume {spec.volume_id}{' (read only)' if spec.read_only else ''}",
            "nbdkit": process.resolve("nbdkit"),
            "pythonpath": _pythonpath(),
            "filters": self._filters,
            "filter_args": self._filter_args,
        }

    def _same(self, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
        return {**found, "port": None} == {**wanted, "port": None}

    def _lives(self, folder: ExportFolder) -> bool:
        """Its shell runs and its server answers, or uses the processor: a busy server is not dead, a stopped one is.

        A server that sends a visitor away at once (door.py) is full, and lives.
        """
        if folder.read() is None or folder.pid() is None:
            return False
        before = processes.cpu_ticks(processes.serving(self._root).get(folder.id, set()))
        try:
            return _greeting(folder.socket) in (NBD_MAGIC, b"") and folder.pid() is not None
        except TimeoutError:
            return processes.cpu_ticks(processes.serving(self._root).get(folder.id, set())) > before
        except ConnectionResetError:
            return folder.pid() is not None
        except OSError:
            return False

    def _start(self, folder: ExportFolder, spec: dict[str, Any], secret: str | None) -> None:
        """One whose initiator was told a port stays noted when this fails: the port is nobody else's."""
        folder.end_process()
        folder.write(spec, secret)
        try:
            port = self._launch(folder)
        except errors.CommandFailed as error:
            if spec["port"] is None:
                folder.remove()
            raise errors.ExportFailed(export=folder.id, reason=error.stderr or "it could not be started") from error
        if not _answers(folder.socket, lambda: folder.pid() is not None):
            complaint = folder.complaint()
            folder.end_process()
            raise errors.ExportFailed(export=folder.id, reason=complaint or "it does not answer")
        folder.write({**spec, "port": int(port) if port.isdigit() else None}, secret)

    def _launch(self, folder: ExportFolder) -> str:
        """Start the daemon; what it prints is its TCP port.

        Where systemd runs, in a scope of its own: a daemon alone would still be in the service's control group, and be
        killed with it at a restart. A scope and not a service unit, because its start is over when the sockets listen,
        and its errors and the port come back the same way as without systemd. At the host's shutdown it is killed, see
        ExportFolder.end_process.
        """
        command = [sys.executable, "-I", "-S", "-c", _BOOT, _root(), str(folder.path)]
        if Path("/run/systemd/system").is_dir():
            scope = f"--unit=nbdsvc-export-{folder.id}.scope"
            command = ["systemd-run", "--quiet", "--scope", "--collect", scope,
                       "--property=KillSignal=SIGKILL", *command]  # fmt: skip
        return self._runner.run(command, timeout=30).stdout.strip()

    def _export(self, folder: ExportFolder) -> Export:
        spec, pid = folder.read(), folder.pid()
        if spec is None or pid is None:
            raise errors.ExportFailed(export=folder.id, reason=folder.complaint() or "its server does not run")
        return Export(
            id=folder.id,
            volume_id=spec["volume_id"],
            unix_socket=folder.socket,
            host=spec["host"] if spec["tcp"] else None,
            port=spec.get("port"),
            name=spec["name"],
            read_only=spec["read_only"],
            pid=pid,
        )


# Isolated and without site: 40 ms faster to start. The launcher needs nothing but the standard library and its folder.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from nbdsvc.exports.nbd import launch; "
    "sys.exit(launch.main(sys.argv[3:] + [sys.argv[2]]))"
)


def _root() -> str:
    return str(Path(__file__).resolve().parents[3])


def _pythonpath() -> str:
    """Where nbdkit's interpreter finds the core and cffi's runtime: both are loaded here too."""
    import _cffi_backend

    return os.pathsep.join([_root(), str(Path(_cffi_backend.__file__).resolve().parent)])


def _greeting(path: Path) -> bytes:
    """The first bytes of a server, empty when it closes the connection. OSError, TimeoutError after ANSWER_SECONDS."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect(str(path))
        return sock.recv(8)


def _answers(path: Path, alive: Any = lambda: True) -> bool:
    """True when a server greets on the socket within ANSWER_SECONDS."""
    try:
        return _greeting(path) == NBD_MAGIC and bool(alive())
    except OSError:
        return False


def _uri(export: Export, tls: bool, over_tcp: bool) -> str:
    """As in the NBD URI specification: nbd[s][+unix]://[user@][host:port]/export[?socket=path]."""
    scheme = "nbds" if tls else "nbd"
    user = f"{export.id}@" if tls else ""
    if over_tcp:
        host = f"[{export.host}]" if export.host and ":" in export.host else export.host
        return f"{scheme}://{user}{host}:{export.port}/{quote(export.name)}"
    return f"{scheme}+unix://{user}/{quote(export.name)}?socket={quote(str(export.unix_socket))}"
