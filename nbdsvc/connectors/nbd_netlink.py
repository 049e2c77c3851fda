"""The kernel's NBD client over generic netlink: connect, disconnect, reconfigure.

Source: include/uapi/linux/nbd-netlink.h and drivers/block/nbd.c. pyroute2 has the transport and the codec, and no
messages of this family, so they are declared here.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from pyroute2.netlink import NETLINK_ADD_MEMBERSHIP, NLM_F_ACK, NLM_F_REQUEST, SOL_NETLINK, genlmsg, nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from nbdsvc import errors

_GROUP, _NETLINK_GENERIC = "nbd_mc_group", 16  # linux/netlink.h
_CONNECT, _DISCONNECT, _RECONFIGURE = 1, 2, 3


class _Message(genlmsg):  # type: ignore[misc]
    prefix = "NBD_ATTR_"
    nla_map = (
        ("NBD_ATTR_UNSPEC", "none"),
        ("NBD_ATTR_INDEX", "uint32"),
        ("NBD_ATTR_SIZE_BYTES", "uint64"),
        ("NBD_ATTR_BLOCK_SIZE_BYTES", "uint64"),
        ("NBD_ATTR_TIMEOUT", "uint64"),
        ("NBD_ATTR_SERVER_FLAGS", "uint64"),
        ("NBD_ATTR_CLIENT_FLAGS", "uint64"),
        ("NBD_ATTR_SOCKETS", "sockets"),
        ("NBD_ATTR_DEAD_CONN_TIMEOUT", "uint64"),
        ("NBD_ATTR_DEVICE_LIST", "hex"),
        ("NBD_ATTR_BACKEND_IDENTIFIER", "asciiz"),
    )

    class sockets(nla):  # type: ignore[misc]  # noqa: N801 (pyroute2 finds it by the name in nla_map)
        nla_map = (("NBD_SOCK_ITEM_UNSPEC", "none"), ("NBD_SOCK_ITEM", "item"))

        class item(nla):  # type: ignore[misc]  # noqa: N801
            nla_map = (("NBD_SOCK_UNSPEC", "none"), ("NBD_SOCK_FD", "uint32"))


def connect(
    fds: Sequence[int], *, size: int, block_size: int, flags: int, timeout: int, dead_timeout: int, identifier: str
) -> int:
    """Make a device of these negotiated sockets and return its index. Raises ExportFailed.

    timeout: seconds without an answer to a request after which its connection counts as dead (0: none).
    dead_timeout: seconds without a new connection after which I/O fails (0: none). identifier: a later reconfigure has
    to name the same, so that a device never gets another volume's sockets. size: bytes.
    """
    reply = _send(
        _CONNECT,
        [
            ("NBD_ATTR_SIZE_BYTES", size),
            ("NBD_ATTR_BLOCK_SIZE_BYTES", block_size),
            ("NBD_ATTR_SERVER_FLAGS", flags),
            ("NBD_ATTR_TIMEOUT", timeout),
            ("NBD_ATTR_DEAD_CONN_TIMEOUT", dead_timeout),
            ("NBD_ATTR_BACKEND_IDENTIFIER", identifier),
            _sockets(fds),
        ],
    )
    return int(reply)


def reconfigure(index: int, fds: Sequence[int], *, identifier: str) -> None:
    """Replace dead sockets of the device by these. Raises ExportFailed."""
    _send(
        _RECONFIGURE,
        [("NBD_ATTR_INDEX", index), ("NBD_ATTR_BACKEND_IDENTIFIER", identifier), _sockets(fds)],
    )


def resize(index: int, size: int, *, identifier: str) -> None:
    """Set the device's size in bytes; processes that have the device open see the new size at once."""
    attributes = [("NBD_ATTR_INDEX", index), ("NBD_ATTR_BACKEND_IDENTIFIER", identifier), ("NBD_ATTR_SIZE_BYTES", size)]
    _send(_RECONFIGURE, attributes)


def disconnect(index: int) -> None:
    """Send the server NBD_CMD_DISC and take the device down. No error when the device is not connected."""
    try:
        _send(_DISCONNECT, [("NBD_ATTR_INDEX", index)])
    except errors.ExportFailed as error:
        if error.__cause__ and getattr(error.__cause__, "code", None) in (errno.EINVAL, errno.ENOTCONN):
            return
        raise


@contextlib.contextmanager
def dead_links() -> Iterator[socket.socket]:
    """A socket that receives a message whenever a connection of any NBD device dies (NBD_CMD_LINK_DEAD)."""
    with GenericNetlinkSocket() as netlink:
        netlink.bind("nbd", _Message)
        group = netlink.mcast_groups[_GROUP]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC) as events:
        events.bind((0, 0))
        events.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        yield events


def _sockets(fds: Sequence[int]) -> tuple[str, Any]:
    items = [("NBD_SOCK_ITEM", {"attrs": [("NBD_SOCK_FD", fd)]}) for fd in fds]
    return "NBD_ATTR_SOCKETS", {"attrs": items}


def _send(command: int, attributes: list[Any]) -> int:
    """Send one command and return the device index in the reply, or -1. Raises ExportFailed."""
    message = _Message()
    message["cmd"], message["version"] = command, 1
    message["attrs"] = attributes
    with GenericNetlinkSocket() as netlink:
        try:
            netlink.bind("nbd", _Message)
            replies = list(netlink.nlm_request(message, msg_type=netlink.prid, msg_flags=NLM_F_REQUEST | NLM_F_ACK))
        except NetlinkError as error:
            reason = f"the kernel's NBD client refuses it: {os.strerror(error.code)}"
            raise errors.ExportFailed(export="nbd", reason=reason) from error
    found = [reply.get_attr("NBD_ATTR_INDEX") for reply in replies if isinstance(reply, _Message)]
    return next((int(index) for index in found if index is not None), -1)
