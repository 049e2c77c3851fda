"""Contract of an export: the transport by which a connector reaches a volume's bytes.

One export serves one attachment. That makes the rule "a detach ends that attachment's access at once, and nobody
else's" a matter of ending one process, and lets each attachment have its own key and its own access mode. Where a
transport knows initiators and not attachments, it keeps that rule by counting (`shared_by`).

All methods are idempotent and look before they act; an exporter knows no database and no driver: it is given a path.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class ExportSpec:
    """What is to be exported, to whom and how.

    id: the attachment's id. volume_id: for names and descriptions. path: local file or block device. size is not here:
    an export serves what the path holds, so that an extend is seen. read_only: writes are refused by the server.
    tcp: listen on the network as well; otherwise only on a unix socket. secret: the pre-shared
    key as hexadecimal digits, written to a file of mode 0600 and never to a command line or a log. initiator: the
    connector's iSCSI name, where it has one. port: of the export's own, that its initiator was told, and which it has again
    after a repair; None: any that no other export has.
    """

    id: str
    volume_id: str
    path: Path
    read_only: bool = False
    tcp: bool = False
    secret: str | None = field(default=None, repr=False)
    initiator: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class Export:
    """A living export: where clients find it. `port` is None without TCP.

    unix_socket, pid: where a process serves it. location: provider_location of the reference, for iSCSI.
    """

    id: str
    volume_id: str
    name: str
    read_only: bool
    host: str | None
    port: int | None
    unix_socket: Path | None = None
    pid: int | None = None
    location: str | None = None


@dataclass(frozen=True)
class ConnectionInfo:
    """What initialize_connection returns: JSON only (S029), field names as the reference has them."""

    driver_volume_type: str
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"driver_volume_type": self.driver_volume_type, "data": self.data}


@runtime_checkable
class Exporter(Protocol):
    """A transport. `protocol` is the storage_protocol of the pool statistics."""

    protocol: str

    def validate_connector(self, connector: dict[str, Any]) -> None:
        """InvalidInput naming the key that this transport needs and the connector lacks (S072)."""

    def needs_tcp(self, connector: dict[str, Any]) -> bool:
        """Whether this connector can only reach the export over the network."""

    def needs_secret(self, connector: dict[str, Any]) -> bool:
        """Whether the export for this connector is to be protected by the attachment's key."""

    def shared_by(self, connector: dict[str, Any]) -> str | None:
        """Attachments of one volume for which this is the same share their secret and their access, until the last of
        them is removed. None: each has its own.
        """

    def healthy(self, export_id: str) -> bool:
        """True when the export is there and answers; looks, and changes nothing."""

    def create_export(self, spec: ExportSpec) -> Export:
        """Bring the export up, or find it up already (S067)."""

    def ensure_export(self, spec: ExportSpec) -> bool:
        """Repair whatever is missing or different; True when something had to be done (S068)."""

    def remove_export(self, export_id: str) -> None:
        """End it: no client of it can read or write once this returns; nothing of it is left (S069)."""

    def list_exports(self) -> list[str]:
        """Ids of all exports that exist in any part, alive or not, so that those nobody owns can be removed."""

    def noted(self, export_id: str) -> ExportSpec | None:
        """What an export that is there was made of, its secret too, by the exporter's own notes. None: it has none."""

    def initialize_connection(self, spec: ExportSpec, connector: dict[str, Any]) -> ConnectionInfo:
        """How this connector reaches the export, which must be up (S070)."""

    def refresh(self, export_id: str) -> None:
        """Let the export see a new size of its path. A no-op where it sees it by itself."""
