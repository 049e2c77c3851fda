"""Attaches volumes to this host, the initiator, as block devices over NBD or iSCSI."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nbdsvc import errors, net, process
from nbdsvc.connectors.attachment_store import (
    Attached,
    AttachmentStore,
    Transport,
    WaitingTransport,
    flush,
    read_first,
    size_of,
    user_of,
)
from nbdsvc.connectors.fuse_loop import FuseLoop
from nbdsvc.connectors.iscsi import BrickIscsi, initiator_name, multipath_runs
from nbdsvc.connectors.kernel_nbd import CONNECTIONS, KernelNbd
from nbdsvc.polling import wait_until

FOLDER = Path("/run/nbdsvc/attached")

# The agent requests sizes every five seconds, and needs longer on a busy host.
GROWTH_SECONDS = 20.0
# How long a detach by force waits for a server: it may only be slow.
FORCE_SECONDS = 10.0


class HostConnector:
    """Attaches and detaches on this host. folder: holds mount points, keys and records. transports: best first.

    connections: how many the kernel's NBD client opens to one volume, where the export allows more than one. When a
    number is given, `attach` refuses an export that another transport would attach.
    """

    def __init__(
        self,
        folder: Path = FOLDER,
        runner: process.Runner | None = None,
        transports: Sequence[Transport] | None = None,
        connections: int | None = None,
    ) -> None:
        self._runner = runner or process.Runner()
        self._folder = folder
        self._store = AttachmentStore(folder)
        usual: list[Transport] = [
            KernelNbd(self._runner, connections or CONNECTIONS),
            FuseLoop(self._runner),
            BrickIscsi(),
        ]
        self._connections = connections
        self._transports = usual if transports is None else list(transports)

    def describe(self) -> dict[str, Any]:
        """The connector: how this host describes itself to the service."""
        return {"host": socket.gethostname(), "ip": _own_address(), "platform": os.uname().machine, "os_type": "linux",
                "multipath": multipath_runs(), "initiator": initiator_name(), "do_local_attach": True}  # fmt: skip

    def find(self, volume_id: str) -> Attached | None:
        """The record of the volume's device; None where the volume is not attached here."""
        return self._store.find(volume_id)

    def all(self) -> list[Attached]:
        """The records of all volumes that are attached here."""
        return self._store.all()

    def attach(self, volume_id: str, attachment_id: str, info: dict[str, Any]) -> Attached:
        """Attach the volume and return its record; a volume that is attached already is no error.

        Raises Unsupported where no transport serves the export, and the transport's errors. When the attach does not
        succeed, also because of a full disk or an interrupt, neither a device nor a record remains.
        """
        found = self.find(volume_id)
        if found is not None:
            return found
        work_dir = self._store.work_dir(volume_id)
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            transport = self._transport_for(info)
            if self._connections and transport.name != KernelNbd.name:
                reason = f"--connections is of the kernel's NBD client, and this host attaches by {transport.name}"
                raise errors.Unsupported(reason=reason)
            device, details = transport.connect(work_dir, attachment_id, info)
            attached = Attached(volume_id, attachment_id, device, transport.name, details)
            self._record(transport, work_dir, attached)
        except BaseException:
            self._store.forget(volume_id)
            raise
        return attached

    def _record(self, transport: Transport, work_dir: Path, attached: Attached) -> None:
        try:
            self._store.write(attached)
            transport.on_recorded(self._folder)
        except BaseException:
            transport.disconnect(work_dir, attached)
            raise

    def await_growth(self, attached: Attached, size: int) -> str:
        """Wait until the device has the new `size` in bytes: "". When it does not get it: what the user has to do."""
        transport = self._named(attached)
        seconds = GROWTH_SECONDS if transport.grows else 0
        return "" if wait_until(lambda: size_of(attached.device) >= size, seconds) else transport.growth

    def detach(self, attached: Attached, *, force: bool = False) -> None:
        """Flush the device and take it down. DeviceBusy with the use and its place while the device is in use.

        force: detach even when the flush fails because the server is gone for good; writes not flushed before are lost.
        Raises WriteFailed when the flush fails without `force`.
        """
        transport = self._named(attached)
        if transport.owns(attached):
            with _impatience(transport, attached, force=force):
                _quiesce(attached.device, force=force)
        transport.disconnect(self._store.work_dir(attached.volume_id), attached)
        self._store.forget(attached.volume_id)

    def _transport_for(self, info: dict[str, Any]) -> Transport:
        for transport in self._transports:
            if transport.serves(info):
                return transport
        names = " nor ".join(transport.name for transport in self._transports)
        raise errors.Unsupported(reason=f"neither {names} can attach this export on this host")

    def _named(self, attached: Attached) -> Transport:
        return next(transport for transport in self._transports if transport.name == attached.kind)


@contextlib.contextmanager
def _impatience(transport: Transport, attached: Attached, *, force: bool) -> Iterator[None]:
    """A block in which the device is given up, by force, where its server does not answer.

    A read-only device has nothing to flush, but its readers wait for the server, and keep it busy: so a read follows.
    """
    if not (force and isinstance(transport, WaitingTransport)):
        yield
        return
    timer = threading.Timer(FORCE_SECONDS, transport.give_up, [attached])
    timer.start()
    try:
        yield
        with contextlib.suppress(OSError):
            read_first(attached.device)
    finally:
        timer.cancel()


def _quiesce(device: str, *, force: bool) -> None:
    user = user_of(device)
    if user:
        raise errors.DeviceBusy(device=device, reason=f"{user}; unmount it first")
    try:
        flush(device)
    except OSError as error:
        if not force:
            reason = f"flush: {error.strerror}; --force gives up what is not written yet"
            raise errors.WriteFailed(destination=device, offset=0, reason=reason) from error


def _own_address() -> str:
    """This host's source address by its routing table; nothing is sent. The loopback address when there is no route."""
    try:
        return net.source_address_for("192.0.2.1")  # TEST-NET-1, RFC 5737
    except OSError:
        return "127.0.0.1"
