"""Gives devices of the kernel's NBD client new connections when theirs die: a server that was killed or restarted, a cut;
and these, and loop devices over FUSE, the size of their volume when it was extended.

The kernel keeps I/O waiting for DEAD_TIMEOUT and tells a multicast group that a link is dead; a process in user space
has to connect again. One process a host does so for all devices: it starts with the first and ends with the last.
Its status command is no sign of life (it still says "connected" after I/O has failed), so it is never used: a
reconfigure takes only as many sockets as there are dead links, and none of a healthy device.
"""

import contextlib
import socket
import time
from pathlib import Path

import structlog

from nbdsvc import errors
from nbdsvc.connectors import fuse_loop, kernel_nbd, nbd_agent
from nbdsvc.connectors.attachment_store import Attached, AttachmentStore, size_of

log = structlog.get_logger(__name__)

# How often a server that is away is tried, and notes are looked at.
TICK_SECONDS = 0.5
# How often a volume's size is requested from its server: one handshake a device, and the time until growth is seen.
SIZE_SECONDS = 5.0
_WATCHED = (kernel_nbd.KernelNbd.name, fuse_loop.FuseLoop.name)


class Watch:
    """The devices noted in `folder`, which is HostConnector's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = AttachmentStore(folder)
        self._broken: set[str] = set()
        self._away: dict[str, str] = {}  # device: why it has no new connection
        self._sizes_at = 0.0

    def run(self) -> None:
        """Serve the devices until none is left. Returns at once where another process does."""
        # A device may be noted between our last look and our end; who noted it saw us running. So: look again, unlocked.
        while self._devices():
            with nbd_agent.locked(self._folder) as free:
                if not free:
                    return
                while self._devices():
                    self._serve()

    def _serve(self) -> None:
        """Serve all devices until the first of the kernel's client comes or the last goes: those report dead links."""
        with contextlib.ExitStack() as stack:
            has_links = bool(self._linked())
            events = stack.enter_context(_dead_links()) if has_links else None
            self._broken = set(self._linked())  # what died before we came
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
        """Returns True when the device needs no further repair."""
        from nbdsvc.connectors import nbd_netlink

        index = attached.details["index"]
        if kernel_nbd.identifier_of(index) != attached.attachment_id:
            return True  # detached, or the device is another attachment's by now
        began = time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                connections = attached.details["connections"]
                links = kernel_nbd.connect_links(attached.details["server"], stack, connections)
                fds = [link.sock.fileno() for link in links]
                nbd_netlink.reconfigure(index, fds, identifier=attached.attachment_id)
        except errors.Error as error:
            if self._away.get(attached.device) != str(error):
                log.warning("no new connection yet", device=attached.device, reason=str(error))
            self._away[attached.device] = str(error)
            return False
        self._away.pop(attached.device, None)
        log.info("connections are replaced", device=attached.device, seconds=round(time.monotonic() - began, 2))
        return True

    def _grow_all(self) -> None:
        """Devices whose volumes were extended get their size; a volume never shrinks."""
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
