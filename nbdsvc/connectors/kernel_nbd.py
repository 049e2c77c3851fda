"""An NBD export as a block device of the kernel's NBD client, which is configured over netlink."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from nbdsvc import errors, process
from nbdsvc.connectors import handshake, nbd_agent, redirected, server_file
from nbdsvc.connectors.attachment_store import Attached, is_nbd
from nbdsvc.connectors.device_wait import await_device
from nbdsvc.model import names

# As many connections as the server's threads can keep busy. More than one only where the server promises that a flush
# on one connection covers all (NBD_FLAG_CAN_MULTI_CONN).
CONNECTIONS = 4
# Seconds. A request that is unanswered for REQUEST_TIMEOUT ends its connection, and nbd_watch.py makes a new one: with
# 30 s, I/O stalled for 30 s after a server was killed. I/O fails when there is no new connection within DEAD_TIMEOUT.
# It is long, because a rebooting storage host tests its hardware for minutes: I/O that waits recovers by itself, while
# a file system that saw an error does not.
REQUEST_TIMEOUT, DEAD_TIMEOUT = 5, 900
# Bytes. The partition tables of disk images count in sectors of 512, and the server requires no larger block.
BLOCK_SIZE = 512
SETTLE_SECONDS = 10.0


class Client(Protocol):
    """The functions of nbd_netlink.py that make and end devices."""

    def connect(
        self,
        fds: Sequence[int],
        *,
        size: int,
        block_size: int,
        flags: int,
        timeout: int,
        dead_timeout: int,
        identifier: str,
    ) -> int:
        """Make a device of these sockets and return its index."""

    def disconnect(self, index: int) -> None:
        """End the device's connections."""


def kernel_client() -> Client:
    """The kernel's client. Imported here, because pyroute2 takes a quarter of a second to load."""
    from nbdsvc.connectors import nbd_netlink

    return nbd_netlink


class KernelNbd:
    """See Transport in nbdsvc/connectors/attachment_store.py. settle: seconds for a device to come up or to go away."""

    name = "kernel nbd"
    grows = True
    growth = "see the log of nbdsvc agent, or attach it again"

    def __init__(
        self,
        runner: process.Runner,
        connections: int = CONNECTIONS,
        client: Callable[[], Client] = kernel_client,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self._runner = runner
        self._connections = connections
        self._client = client
        self._settle = settle

    def serves(self, info: dict[str, Any]) -> bool:
        """Whether the export is NBD without TLS (the kernel has no TLS), and the module nbd is loaded or can be."""
        return is_nbd(info) and not info.get("tls") and self._loaded()

    def connect(self, work_dir: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Hand negotiated sockets to the kernel. Raises ExportFailed; DeviceBusy when no device comes up in time."""
        with ExitStack() as stack:
            links = connect_links(info, stack, self._connections)
            index = self._client().connect(
                [link.sock.fileno() for link in links],
                size=volume_size(info),
                block_size=BLOCK_SIZE,
                flags=links[0].flags,
                timeout=REQUEST_TIMEOUT,
                dead_timeout=DEAD_TIMEOUT,
                identifier=attachment_id,
            )
        device = f"/dev/nbd{index}"
        try:
            await_device(
                lambda: _connected(index) and Path(device).exists(), device, "it does not come up", self._settle
            )
        except BaseException:
            self._disconnect(index, attachment_id)
            raise
        server = {key: info.get(key) for key in ("unix_socket", "host", "port", "export")}
        return device, {"index": index, "connections": len(links), "server": server}

    def on_recorded(self, folder: Path) -> None:
        """Start the agent that reconnects and resizes the device."""
        nbd_agent.ensure_running(folder)

    def owns(self, attached: Attached) -> bool:
        """Whether the device does not belong to another attachment by now."""
        return identifier_of(attached.details["index"]) in (attached.attachment_id, None)

    def disconnect(self, work_dir: Path, attached: Attached) -> None:
        """Disconnect the device, unless another attachment has it by now. DeviceBusy when it does not end in time."""
        self._disconnect(attached.details["index"], attached.attachment_id)

    def _disconnect(self, index: int, attachment_id: str) -> None:
        if identifier_of(index) not in (attachment_id, None):
            return  # this attachment's device is gone, and another attachment has the index now
        self._client().disconnect(index)
        reason = "its connection does not end"
        await_device(lambda: not _connected(index), f"/dev/nbd{index}", reason, self._settle)

    def _loaded(self) -> bool:
        if not Path("/sys/module/nbd").is_dir():
            try:
                # nbds_max=0: no devices are made in advance, because netlink makes each when it is requested.
                self._runner.run(["modprobe", "nbd", "nbds_max=0"], tries=1)
            except errors.BackendError:
                return False
        return Path("/sys/module/nbd").is_dir()


def identifier_of(index: int) -> str | None:
    """The backend identifier given to `connect`; None while the device is not connected, and before Linux 5.14."""
    try:
        return Path(f"/sys/block/nbd{index}/backend").read_text().strip() or None
    except OSError:
        return None


def connect_links(info: dict[str, Any], stack: ExitStack, connections: int) -> list[handshake.Negotiated]:
    """Negotiated connections: one, or as many as `connections` where the export allows several.

    They use the growing name, so that the server does not limit the device's size. `stack` closes the sockets; the
    kernel holds its own descriptors of them. Raises ExportFailed.
    """
    growing = names.growing_name(info["export"])
    first = _connect_link(info, growing, stack)
    more = connections - 1 if first.flags & handshake.CAN_MULTI_CONN else 0
    return [first, *(_connect_link(info, growing, stack) for _ in range(more))]


def volume_size(info: dict[str, Any]) -> int:
    """The volume's present size in bytes. ExportFailed when its server does not answer."""
    with ExitStack() as stack:
        return _connect_link(info, info["export"], stack).size


def moved_to(info: dict[str, Any]) -> dict[str, Any] | None:
    """The address of a volume that went to another host, as that of its former server; None where that does not say so."""
    if not info.get("host"):
        return None
    server = server_file.Server(server_file.address_of(info["host"], info["port"], info["export"]), info["export"], "")
    try:
        uri = redirected.look(process.resolve("nbdinfo"), server.uri, server.export)
        found = server.at(uri) if uri else None
    except (OSError, errors.BackendUnavailable, redirected.MovingError):
        return None
    return {"host": found.host, "port": found.port} if found else None


def _connect_link(info: dict[str, Any], export: str, stack: ExitStack) -> handshake.Negotiated:
    made = handshake.connect(info.get("unix_socket"), info.get("host"), info.get("port"), export)
    stack.callback(made.sock.close)
    return made


def _connected(index: int) -> bool:
    return Path(f"/sys/block/nbd{index}/pid").exists()
