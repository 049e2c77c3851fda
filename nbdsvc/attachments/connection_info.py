"""connection_info: what an initiator is given to reach its export."""

from typing import Any

from nbdsvc.app import App
from nbdsvc.exporter import ConnectionInfo
from nbdsvc.model.entities import Attachment


def stored_info(info: ConnectionInfo, qos_specs: dict[str, str] | None = None) -> dict[str, Any]:
    """The connection_info for the attachment's row and the journal: without its secret. qos_specs: for the front end."""
    return {**info.flat(), "encrypted": False, "qos_specs": qos_specs}


def connection_info(app: App, attachment: Attachment) -> dict[str, Any]:
    """The connection_info for the initiator, with its secret, which leaves the row only here. Empty without a connection.

    Raises no error: a transport without secrets has none to add.
    """
    if not attachment.connection_info or not attachment.secret:
        return dict(attachment.connection_info or {})
    info = ConnectionInfo.from_flat(attachment.connection_info)
    add_secret = app.add_secret.get(info.driver_volume_type)
    return add_secret(info, attachment.secret).flat() if add_secret else info.flat()
