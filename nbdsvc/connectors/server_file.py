"""The file in a device's private folder that has the address of its server: another one when the volume went elsewhere.

dial.py, which runs without the packages of the service, imports this module: it imports none of them.
"""

import json
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from nbdsvc import atomic_file

NAME = "server.json"


class Server(NamedTuple):
    """An export on the network. key: the file of its pre-shared key; empty where it has none."""

    address: str
    export: str
    key: str

    @property
    def uri(self) -> str:
        """As libnbd takes it: with the file of the key."""
        return f"{self.address}?tls-psk-file={quote(self.key)}" if self.key else self.address

    @property
    def host(self) -> str:
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 10809

    def at(self, address: str) -> "Server":
        """The same export at another address: never without TLS where it has had it. OSError for such an address."""
        parts = urlsplit(address)
        is_same = (parts.scheme == "nbds") == bool(self.key) and unquote(parts.path).lstrip("/") == self.export
        if not is_same or parts.query or parts.fragment:
            raise OSError("the new address is not that of the same export with the same key")
        return self._replace(address=address)


def address_of(host: str, port: int, export: str) -> str:
    """The address of an export without TLS."""
    return f"nbd://{f'[{host}]' if ':' in host else host}:{port}/{quote(export)}"


def read(path: str) -> Server:
    """Raises OSError; ValueError for a damaged file."""
    with open(path, encoding="utf-8") as file:
        return Server(**json.load(file))


def write(path: str, server: Server) -> None:
    """In place of the file that is there, as a whole. Raises OSError."""
    atomic_file.write(Path(path), json.dumps(server._asdict()).encode(), durable=False)
