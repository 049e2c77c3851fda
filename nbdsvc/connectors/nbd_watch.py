"""Reconnects devices of the kernel's NBD client after their server was killed or restarted, or the network was cut, and
resizes these devices and loop devices over FUSE when their volume was extended.

When a connection dies, the kernel lets I/O wait for DEAD_TIMEOUT and notifies a multicast group; a user-space process
has to connect again. One process on each host does so for all devices: it starts with the first device and ends with
the last. The kernel's status command is not used, because it still reports "connected" after I/O has failed. It is also
not needed: a reconfigure replaces only dead connections, and none of a healthy device.
"""

import contextlib
import socket
import time
from dataclasses import replace
from pathlib import Path

import structlog

from nbdsvc import errors
from nbdsvc.connectors import fuse_loop, kernel_nbd, nbd_agent
from nbdsvc.connectors.attachment_store import Attached, AttachmentStore, size_of

log = structlog.get_logger(__name__)

# Seconds between two attempts to reach a server, and between two reads of the devices' records.
TICK_SECONDS = 0.5
# Seconds between two requests for a volume's size: each costs one handshake, and a device grows at most this late.
SIZE_SECONDS = 5.0
_WATCHED = (kernel_nbd.KernelNbd.name, fuse_loop.FuseLoop.name)


class Watch:
    """Watches the devices that have a record in `folder`, the one of HostConnector."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = AttachmentStore(folder)
        self._broken: set[str] = set()
        self._away: dict[str, str] = {}  # device: the reason why it could not be reconnected
        self._sizes_at = 0.0

    def run(self) -> None:
        """Serve the devices until none is left. Returns at once when another process serves them."""
        # Another process may store a record after our last read and before we unlock; it then starts no agent, because
        # it saw the lock held. So read the records again after unlocking.
        while self._devices():
            with nbd_agent.locked(self._folder) as free:
                if not free:
                    return
                while self._devices():
                    self._serve()

    def _serve(self) -> None:
        """Serve all devices until the first device of the kernel's client appears or the last one goes away.

        Only those report dead connections, so the socket for the reports is open only while there are any.
        """
        with contextlib.ExitStack() as stack:
            has_links = bool(self._linked())
            events = stack.enter_context(_dead_links()) if has_links else None
            self._broken = set(self._linked())  # connections may have died before the socket was open
            while self._devices() and bool(self._linked()) == has_links:
                self._repair_all()
                self._grow_all()
                self._wait(events)

    def _wait(self, events: socket.socket | None) -> None:
        if events is None:
            time.sleep(TICK_SECONDS)
            return
        events.settimeout(TICK_SECONDS)
        with contextlib.suppress(TimeoutError):
            events.recv(65536)
            log.warning("a link is dead")
            self._broken = set(self._linked())

    def _repair_all(self) -> None:
        devices = self._linked()
        for device in sorted(self._broken & set(devices)):
            if self._repair(devices[device]):
                self._broken.discard(device)
        self._broken &= set(devices)

    def _repair(self, attached: Attached) -> bool:
        """Reconnect the device; True when it needs no further repair."""
        from nbdsvc.connectors import nbd_netlink

        index = attached.details["index"]
        if kernel_nbd.identifier_of(index) != attached.attachment_id:
            return True  # the device is detached, or belongs to another attachment by now
        began = time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                connections = attached.details["connections"]
                links = kernel_nbd.connect_links(attached.details["server"], stack, connections)
                fds = [link.sock.fileno() for link in links]
                nbd_netlink.reconfigure(index, fds, identifier=attached.attachment_id)
        except errors.Error as error:
            if self._follow(attached):
                return False
            if self._away.get(attached.device) != str(error):
                log.warning("no new connection yet", device=attached.device, reason=str(error))
            self._away[attached.device] = str(error)
            return False
        self._away.pop(attached.device, None)
        log.info("connections are replaced", device=attached.device, seconds=round(time.monotonic() - began, 2))
        return True

    def _follow(self, attached: Attached) -> bool:
        """Whether the volume is at another host: the device's record says where, now, and the next look connects there."""
        there = kernel_nbd.moved_to(attached.details["server"])
        if there is None:
            return False
        details = {**attached.details, "server": {**attached.details["server"], **there}}
        if self._store.find(attached.volume_id) != attached:
            return False  # detached meanwhile
        self._store.write(replace(attached, details=details))
        log.warning("the volume is at another host", device=attached.device, host=there["host"], port=there["port"])
        return True

    def _grow_all(self) -> None:
        """Give each device whose volume was extended the new size; a volume never shrinks."""
        if time.monotonic() < self._sizes_at:
            return
        self._sizes_at = time.monotonic() + SIZE_SECONDS
        for device, attached in self._devices().items():
            if device not in self._broken:
                with contextlib.suppress(errors.Error, OSError):
                    self._grow(attached)

    def _grow(self, attached: Attached) -> None:
        size = fuse_loop.grow(attached) if attached.kind == fuse_loop.FuseLoop.name else self._grow_linked(attached)
        if size:
            log.info("the volume was extended", device=attached.device, size=size)

    def _grow_linked(self, attached: Attached) -> int | None:
        from nbdsvc.connectors import nbd_netlink

        index = attached.details["index"]
        if kernel_nbd.identifier_of(index) != attached.attachment_id:
            return None
        size = kernel_nbd.volume_size(attached.details["server"])
        if size <= size_of(attached.device):
            return None
        nbd_netlink.resize(index, size, identifier=attached.attachment_id)
        return size

    def _devices(self) -> dict[str, Attached]:
        return {found.device: found for found in self._store.all() if found.kind in _WATCHED}

    def _linked(self) -> dict[str, Attached]:
        return {device: found for device, found in self._devices().items() if found.kind == kernel_nbd.KernelNbd.name}


def _dead_links() -> contextlib.AbstractContextManager[socket.socket]:
    from nbdsvc.connectors import nbd_netlink  # pyroute2 takes a quarter of a second to load

    return nbd_netlink.dead_links()
