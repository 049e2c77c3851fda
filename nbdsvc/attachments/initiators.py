"""The driver's part of a connection: it is called before the export, with what it has kept of the initiator (S070)."""

from collections.abc import Mapping
from typing import Any

import structlog

from nbdsvc import errors
from nbdsvc.driver import ConnectionDriver, VolumeRef
from nbdsvc.host import Backend
from nbdsvc.store import initiator_data
from nbdsvc.store.database import Database

log = structlog.get_logger(__name__)

# The spelling of Cinder's documents, and the one that its manager read (trap T2).
_UPDATES = ("initiator_updates", "initiator_update")


def prepare_connection(
    database: Database, backend: Backend, volume: VolumeRef, connector: Mapping[str, Any]
) -> dict[str, Any]:
    """Call the backend's driver, where it wants that, and keep what it says of the initiator. Returns the keys that it adds
    to the connection_info.

    Errors: those of the driver; InternalError for data that is no text.
    """
    if not isinstance(backend.driver, ConnectionDriver):
        return {}
    initiator, namespace = connector.get("initiator"), backend.namespace
    with database.read() as conn:
        kept = initiator_data.of_initiator(conn, initiator, namespace) if initiator else None
    returned = dict(backend.driver.initialize_connection(volume, connector, kept) or {})
    set_values, remove_values = _updates(returned)
    if not initiator and (set_values or remove_values):
        log.warning("a driver's data of an initiator is dropped: the connector has none", backend=backend.name)
    elif set_values or remove_values:
        with database.write() as conn:
            initiator_data.change(database, conn, str(initiator), namespace, set_values, remove_values)
    return returned


def _updates(returned: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """What is to be kept and to be forgotten, taken out of what the driver returned."""
    given = [returned.pop(key, None) or {} for key in _UPDATES]
    set_values = {key: value for each in given for key, value in (each.get("set_values") or {}).items()}
    remove_values = [key for each in given for key in each.get("remove_values") or ()]
    if not all(isinstance(text, str) for text in (*set_values, *set_values.values(), *remove_values)):
        raise errors.InternalError(reason="a driver wants to keep data of an initiator that is no text")
    return set_values, remove_values
