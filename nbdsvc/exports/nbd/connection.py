"""connection_info of an NBD export, as a pure function of its note."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbdsvc.exporter import ConnectionInfo


def info(id: str, note: dict[str, Any], unix_socket: Path | None) -> ConnectionInfo:
    """The connection_info. unix_socket: the socket's path; None: over the network, by the note's host and port."""
    network = unix_socket is None
    data = {
        "volume_id": note["volume_id"],
        "export": note["name"],
        "uri": _uri(id, note, unix_socket),
        "unix_socket": None if network else str(unix_socket),
        "host": note["host"] if network else None,
        "port": note["port"] if network else None,
        "tls": note["tls"],
        "tls_psk_username": id if note["tls"] else None,
        "access_mode": "ro" if note["read_only"] else "rw",
        "target_discovered": False,
        "discard": True,
        "logical_block_size": 512,
        "physical_block_size": 4096,
    }
    return ConnectionInfo("nbd", data)


def _uri(id: str, note: dict[str, Any], unix_socket: Path | None) -> str:
    """The URI in the form of the NBD URI specification: nbd[s][+unix]://[user@][host:port]/export[?socket=path]."""
    scheme, user = ("nbds", f"{id}@") if note["tls"] else ("nbd", "")
    name = quote(note["name"])
    if unix_socket is None:
        host = f"[{note['host']}]" if ":" in note["host"] else note["host"]
        return f"{scheme}://{user}{host}:{note['port']}/{name}"
    return f"{scheme}+unix://{user}/{name}?socket={quote(str(unix_socket))}"
