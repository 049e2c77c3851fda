"""Contract of an exporter: a transport by which an initiator reaches a volume's bytes.

    connector, location --accept--> Access --+
                                             +--> ExportSpec --ensure--> ConnectionInfo --with_secret--> the initiator
    attachment, volume, location ------------+

One export serves one attachment, so that a detach ends the access of this attachment at once, and of no other. Where a
transport knows only initiators, several attachments share one access (`sharing_key`), which ends with the last.

All methods check before they act and may be called again. An exporter uses neither database nor driver. It stores the
facts of its exports in notes of its own, whose format has a version. docs/writing-an-exporter.md has a complete
example.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from nbdsvc import errors
from nbdsvc.location import LOCAL, Location, Scheme

# Fields of connection_info that are in the reply to their initiator and nowhere else: in no row, journal or log.
SECRET_FIELDS = frozenset({"tls_psk_key", "auth_password"})


@dataclass(frozen=True)
class Connector:
    """An initiator, as it describes itself (os-brick's get_connector_properties). Parsed once; no field is required here."""

    host: str | None = None
    ip: str | None = None
    # iSCSI names (iqn., eui., naa.).
    initiators: tuple[str, ...] = ()
    # World wide names of Fibre Channel's ports and nodes, and the NVMe qualified name.
    wwpns: tuple[str, ...] = ()
    wwnns: tuple[str, ...] = ()
    nqn: str | None = None
    multipath: bool = False
    # "tcp" or "unix", if the initiator requests one of NBD's transports.
    nbd_transport: str | None = None
    # The whole connector as given, with the keys of single transports.
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Connector":
        """Parse a connector. Raises InvalidInput, which names the field that is no text."""
        initiator, nqn = _text(given, "initiator"), given.get("nqn")
        return cls(
            host=_text(given, "host") or None,
            ip=_text(given, "ip"),
            initiators=(initiator,) if initiator else (),
            wwpns=_names(given.get("wwpns")),
            wwnns=_names(given.get("wwnns")),
            nqn=nqn if isinstance(nqn, str) else None,
            multipath=bool(given.get("multipath")),
            nbd_transport=_text(given, "nbd_transport") or None,
            extra=given,
        )


def _text(given: Mapping[str, Any], key: str) -> str | None:
    found = given.get(key)
    if found is not None and not isinstance(found, str):
        raise errors.InvalidInput(field=f"connector.{key}", value=None, reason="must be a string")
    return found


def _names(given: object) -> tuple[str, ...]:
    """The names of a list that are not empty; one that is given alone counts as a list of it."""
    listed = given if isinstance(given, list | tuple) else [given]
    return tuple(str(each) for each in listed if each)


@dataclass(frozen=True)
class Access:
    """The access that an exporter grants an accepted connector."""

    # Whether the initiator connects over the network.
    network: bool = False
    # Whether the attachment's secret protects the export.
    needs_secret: bool = False
    # The names by which the transport knows the initiator.
    initiators: tuple[str, ...] = ()
    # Exported attachments of one volume with the same key share secret and access. None: this one has its own.
    sharing_key: str | None = None
    # The initiator's address, and whether it can use several paths.
    peer: str | None = None
    multipath: bool = False


@dataclass(frozen=True)
class ExportSpec:
    """A desired export. Without a size: an export serves all of `location`, so that an extend takes effect."""

    # The attachment's id.
    id: str
    # The volume's id, for names and descriptions.
    volume_id: str
    # Where the volume's bytes are.
    location: Location
    access: Access = field(default_factory=Access)
    # Writes are refused by the server.
    read_only: bool = False
    # The attachment's secret, hexadecimal; written to files of mode 0600 only, never to a command line or a log.
    secret: str | None = field(default=None, repr=False)
    # The TCP port that the initiator was given, and that the export has again after a repair. None: any that is free.
    port: int | None = None
    # Limits of the volume's clients, by keys of QoS specs of the back end (model/qos.py). Only for a LimitingExporter.
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ConnectionInfo:
    """The data by which an initiator reaches an export, without secrets: JSON only, keys as in Cinder."""

    driver_volume_type: str
    data: dict[str, Any]
    # Cinder's provider_location, where the transport has one; for logs.
    location: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON for the reply of os-initialize_connection."""
        return {"driver_volume_type": self.driver_volume_type, "data": self.data}

    def flat(self) -> dict[str, Any]:
        """JSON for the attachments API and for rows."""
        return {"driver_volume_type": self.driver_volume_type, **self.data}

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any]) -> "ConnectionInfo":
        """The reverse of flat()."""
        return cls(flat["driver_volume_type"], {key: flat[key] for key in flat if key != "driver_volume_type"})


@dataclass(frozen=True)
class Health:
    """Whether an export serves. fault: why not; empty when it does."""

    fault: str = ""

    @property
    def ok(self) -> bool:
        return not self.fault


@dataclass(frozen=True)
class Inventory:
    """The exports of an exporter on this host, alive or not."""

    # Attachments of which the exporter has a note or a server.
    exports: tuple[str, ...] = ()
    # Ids, to be given to `remove`, of exports without a note.
    orphans: tuple[str, ...] = ()


# The transports whose storage_protocol and driver_volume_type are two words, as in Cinder.
_VOLUME_TYPES = {"FC": "fibre_channel"}


def driver_volume_type(protocol: str) -> str:
    """The driver_volume_type of an exporter's `protocol`, which is also the `protocol` of its attachments."""
    return _VOLUME_TYPES.get(protocol, protocol.lower())


# Adds an attachment's secret to the connection_info of its transport.
AddSecret = Callable[[ConnectionInfo, str], ConnectionInfo]


def check_scheme(protocol: str, location: Location, served: Collection[Scheme] = LOCAL) -> None:
    """Unsupported, with the transport's and the scheme's names, for a location that is none of `served`."""
    if location.scheme not in served:
        reason = f"{protocol} exports volumes at {' or '.join(served)} locations, and this one is at {location.scheme}"
        raise errors.Unsupported(reason=reason)


@runtime_checkable
class SessionExporter(Protocol):
    """A transport whose initiators log in, so that it knows which of them have."""

    def sessions(self, export_id: str) -> frozenset[str] | None:
        """Names of the initiators that are logged in to the target of this export; None where this is unknown."""


@dataclass(frozen=True)
class MirrorState:
    """The state of an export's mirror. done, size: bytes of the copy. reason: of a failure."""

    state: Literal["none", "copying", "synchronised", "failed"]
    done: int = 0
    size: int = 0
    reason: str = ""


@runtime_checkable
class MirrorExporter(Protocol):
    """A transport whose servers can mirror a volume: write to a second place, too, copy the rest there, and then switch
    to that place while clients stay connected. Each method raises ExportFailed, also for a server that does not answer.
    """

    def start_mirror(
        self, export_id: str, destination: Location, *, is_zero: bool, rate: int = 0, source: Location | None = None
    ) -> None:
        """Begin; what is acknowledged from now on is at both places. is_zero: the destination reads as zeros. rate: bytes
        a second of the copy, 0 for no limit. source: where the volume is; refused where its server has it by another name,
        which `moved_to` would not find.
        """

    def mirror_state(self, export_id: str) -> MirrorState:
        """The state of the mirror; a server that was restarted has no mirror."""

    def limit_mirror(self, export_id: str, rate: int) -> None:
        """Limit the copy from now on. rate: bytes a second, 0: no limit."""

    def health(self, export_id: str) -> Health:
        """See Exporter.health."""

    def switch_mirror(self, export_id: str) -> None:
        """Make the destination of a synchronised mirror the volume. After an error, `moved_to` returns whether this has
        happened.
        """

    def end_mirror(self, export_id: str, source: Location) -> Location | None:
        """End the mirror: no switch can happen after the return. A server that does not answer is killed. Returns the
        same as `moved_to`. ExportFailed where requests hang at the destination: new ones go to the source alone, no switch
        can happen, and it is to be called again before the destination is removed.
        """

    def moved_to(self, export_id: str, source: Location) -> Location | None:
        """The location to which a switch has moved `source`, until `forget_move`, also after the export's end."""

    def records(self) -> Mapping[str, tuple[Location, Location]]:
        """Every switch whose record is there: the export -> where its volume was, and to where it has moved."""

    def forget_move(self, export_id: str) -> None:
        """Remove the record of a switch: the volume's row has the new location now."""


@runtime_checkable
class LeavingExporter(MirrorExporter, Protocol):
    """A transport whose servers can mirror to an export of another host, and whose clients find their volume there."""

    def remove(self, export_id: str) -> None:
        """See Exporter.remove."""

    def leave(self, export_id: str, source: Location) -> None:
        """As switch_mirror, where the destination is an export of another host: the server ends, what it has answered is at
        both places, and `moved_to` has a location of scheme nbd. Clients of the export learn that the volume is on its way.
        """

    def come_back(self, export_id: str) -> None:
        """Take a `leave` back, before the other place is used: `ensure` serves the source again."""

    def prepare(self, spec: ExportSpec) -> bool:
        """Start the export of a volume that is on its way to this host, as QEMU's -incoming does: it refuses clients until
        `ensure`, which then waits for no start. False where the export is there already. ExportFailed.
        """

    def unprepare(self, export_id: str) -> None:
        """Remove what `prepare` has made, where no `ensure` came."""

    def redirect(self, export_id: str, uri: str) -> None:
        """Behind a `leave`: let the export's address say that the volume is at this URI, until `remove` or `ensure`."""

    def left(self) -> frozenset[str]:
        """The exports whose volume has left, also of a `leave` that was not taken back."""


class WriteHold(Protocol):
    """An export whose writers wait."""

    def release(self) -> bool:
        """Let them go on. True where none has written since the hold began; repeated, it returns the same. Without I/O
        errors: an export that cannot tell returns False.
        """


@runtime_checkable
class HoldingExporter(Protocol):
    """A transport whose servers can hold their clients' writes for a moment, while clients stay connected."""

    def hold_writes(self, export_id: str, seconds: float) -> WriteHold:
        """Returns when no write is under way and later ones wait. They go on after `seconds` at most, and when this process
        ends. ExportFailed where writes under way do not end in time, and for a server that does not answer.
        """


@runtime_checkable
class LimitingExporter(Protocol):
    """A transport whose servers keep clients to limits, all connections and exports of a volume on this host together. Others
    are not used for a volume whose QoS specs are for the back end.
    """

    def limit_clients(self, export_id: str, limits: Mapping[str, int]) -> None:
        """Change the limits of a running export, also for its next server: ExportSpec.limits. Empty: none. ExportFailed where
        its server does not take them, which is then as before.
        """

    def limits(self, export_id: str) -> Mapping[str, int]:
        """The limits that a running export keeps its clients to now. ExportFailed where its server does not say."""


@runtime_checkable
class Exporter(Protocol):
    """A transport. `protocol` is the storage_protocol of pool statistics; `driver_volume_type` makes the `protocol` of
    attachments of it.
    """

    protocol: str

    def accept(self, connector: Connector, location: Location) -> Access:
        """The access of this connector to a volume at the location, by these and the exporter's settings alone, without
        I/O.

        Errors: Unsupported for a location that this transport cannot serve to any connector (check_scheme);
        InvalidInput names a required key that the connector lacks.
        """

    def ensure(self, spec: ExportSpec) -> ConnectionInfo:
        """Make, repair or keep the export; returns its connection_info. Idempotent.

        Errors: ExportFailed; Unsupported for a location that accept refuses; Conflict with another export of the volume;
        InvalidInput when the initiator cannot reach it.
        """

    def remove(self, export_id: str) -> None:
        """End the export: no client can read or write once this returns, and no part of it remains. ExportFailed."""

    def resize(self, export_id: str, size: int) -> None:
        """Let the export have the volume's new `size` in bytes, unless the export reads it itself. ExportFailed."""

    def health(self, export_id: str) -> Health:
        """Whether the export exists and answers. Changes nothing."""

    def inventory(self) -> Inventory:
        """All exports of this host of which any part exists."""

    def find(self, export_id: str) -> tuple[ExportSpec, ConnectionInfo] | None:
        """An export that serves, from the exporter's own notes, with its secret: for rows that were lost. None: no note.

        Errors: ExportFailed, InvalidInput.
        """

    @staticmethod
    def with_secret(info: ConnectionInfo, secret: str) -> ConnectionInfo:
        """The connection_info for the initiator, with the secret. Called also in processes that export nothing."""
