"""An NBD export as a block device of the kernel's own client, set up over netlink."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from nbdsvc import errors, process
from nbdsvc.connectors import handshake, nbd_agent
from nbdsvc.connectors.attachment_store import Attached, is_nbd
from nbdsvc.connectors.device_wait import await_device
from nbdsvc.model import names

# As many connections as the server's threads can keep busy; only where it says that a flush on one covers all.
CONNECTIONS = 4
# Seconds. A request that is unanswered for so long ends its connection, and nbd_watch.py makes a new one: with 30 a killed
# server was a stall of 30 s. Without a new connection I/O fails after the second: servers test themselves for minutes
# before they boot, and I/O that waits is mended by itself, while a file system that saw an error is not.
REQUEST_TIMEOUT, DEAD_TIMEOUT = 5, 900
# What every disk image's partition table was made for; the server has no larger minimum.
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
        """Make a device of these sockets; its index."""

    def disconnect(self, index: int) -> None:
        """End the device's connections."""


def kernel_client() -> Client:
    """The kernel's. Imported late: pyroute2 takes a quarter of a second to load."""
    from nbdsvc.connectors import nbd_netlink

    return nbd_netlink


class KernelNbd:
    """See Transport in nbdsvc/connectors/attachment_store.py. settle: seconds for a device to come up, or to end."""

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
        """Whether the export is NBD without TLS, which the kernel lacks, and the module nbd is or can be loaded."""
        return is_nbd(info) and not info.get("tls") and self._loaded()

    def connect(self, work_dir: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Hand negotiated sockets to the kernel. ExportFailed; DeviceBusy where the device does not come up in time."""
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
        """Whether no other attachment has the device."""
        return identifier_of(attached.details["index"]) in (attached.attachment_id, None)

    def disconnect(self, work_dir: Path, attached: Attached) -> None:
        """Disconnect the device, unless another attachment has it by now. DeviceBusy where it does not end in time."""
        self._disconnect(attached.details["index"], attached.attachment_id)

    def _disconnect(self, index: int, attachment_id: str) -> None:
        if identifier_of(index) not in (attachment_id, None):
            return  # ours is gone, and another attachment has the device since
        self._client().disconnect(index)
        reason = "its connection does not end"
        await_device(lambda: not _connected(index), f"/dev/nbd{index}", reason, self._settle)

    def _loaded(self) -> bool:
        if not Path("/sys/module/nbd").is_dir():
            try:
                # No devices in advance: netlink makes them as they are requested.
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
    """One connection, and more of them where the export allows it, whose size is the device's business.

    Closed by the stack: the kernel holds its own.
    """
    growing = names.growing_name(info["export"])
    first = _connect_link(info, growing, stack)
    more = connections - 1 if first.flags & handshake.CAN_MULTI_CONN else 0
    return [first, *(_connect_link(info, growing, stack) for _ in range(more))]


def volume_size(info: dict[str, Any]) -> int:
    """The volume's size now, in bytes. ExportFailed where its server is away."""
    with ExitStack() as stack:
        return _connect_link(info, info["export"], stack).size


def _connect_link(info: dict[str, Any], export: str, stack: ExitStack) -> handshake.Negotiated:
    made = handshake.connect(info.get("unix_socket"), info.get("host"), info.get("port"), export)
    stack.callback(made.sock.close)
    return made


def _connected(index: int) -> bool:
    return Path(f"/sys/block/nbd{index}/pid").exists()
