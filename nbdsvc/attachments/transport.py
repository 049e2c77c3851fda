"""The transport of an attachment: chosen at its connection, recorded with it, and kept when settings change."""

from collections.abc import Mapping, Sequence

from nbdsvc import errors
from nbdsvc.exporter import Access, Connector, Exporter, LimitingExporter, driver_volume_type
from nbdsvc.location import Location
from nbdsvc.store import repositories, tables
from nbdsvc.store.database import Database

# Extra spec of a volume type: the transports of its volumes, named as Cinder's capability ("iSCSI", "<in> nbd").
STORAGE_PROTOCOL = "storage_protocol"


def protocol_of(exporter: Exporter) -> str:
    """The recorded transport: the driver_volume_type of the connection_info."""
    return driver_volume_type(exporter.protocol)


def recorded_protocols(database: Database, host: str) -> set[str]:
    """The transports of the attachments that this host exports."""
    with database.read() as conn:
        mine = {row.id for row in repositories.volumes.select(conn, tables.volumes.c.host == host)}
        rows = repositories.attachments.select(conn, tables.attachments.c.exported)
    return {row.protocol for row in rows if row.protocol and row.volume_id in mine}


def choose(
    exporters: Sequence[Exporter],
    connector: Connector,
    location: Location,
    extra_specs: Mapping[str, str],
    recorded: str | None,
    *,
    limited: bool = False,
) -> tuple[Exporter, Access]:
    """The transport for this connector: the recorded one if it still fits, else the first of the backend's that does.

    exporters: of the backend, best first. location: of the volume. limited: its exports keep clients to limits. Unsupported
    when the volume's type allows none of them, none keeps clients to limits, or none can serve its location; else
    InvalidInput, that of the first one that can, when none accepts the connector.
    """
    allowed = [each for each in exporters if _is_allowed(each, extra_specs)]
    if not allowed:
        offered = ", ".join(each.protocol for each in exporters)
        raise errors.Unsupported(
            reason=f"the volume's type wants {extra_specs[STORAGE_PROTOCOL]}, and its backend exports by {offered}"
        )
    if limited:
        allowed = check_limiting(allowed)
    refusals: list[errors.RequestError] = []
    for exporter in sorted(allowed, key=lambda each: protocol_of(each) != recorded):
        try:
            return exporter, exporter.accept(connector, location)
        except (errors.InvalidInput, errors.Unsupported) as error:
            refusals.append(error)
    # The connector's error comes first, because the client can send another connector and cannot change the location.
    raise min(refusals, key=lambda each: isinstance(each, errors.Unsupported))


def check_limiting(exporters: Sequence[Exporter]) -> list[Exporter]:
    """Those that keep clients to limits. Raises Unsupported without any: limits are not ignored."""
    found: list[Exporter] = [each for each in exporters if isinstance(each, LimitingExporter)]
    if not found:
        by = " or ".join(each.protocol for each in exporters)
        reason = (
            f"the QoS specs of the volume's type are for the back end, and exports by {by} cannot keep clients to them"
        )
        raise errors.Unsupported(reason=reason)
    return found


def _is_allowed(exporter: Exporter, extra_specs: Mapping[str, str]) -> bool:
    wanted = extra_specs.get(STORAGE_PROTOCOL, "").lower().split()
    allowed = [word for word in wanted if not word.startswith("<")]
    return not allowed or bool({protocol_of(exporter), exporter.protocol.lower()} & set(allowed))
