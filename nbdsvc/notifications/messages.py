"""The envelope of a notification, in oslo.messaging's format."""

import uuid
from typing import Any

from nbdsvc.model import clock
from nbdsvc.notifications.payloads import Payload

# The namespace of message ids: the same message always has the same id, by which a receiver drops repeats.
_IDS = uuid.UUID("6f1d8a52-0031-4c3e-9a55-6e6f74696679")


def message(event_type: str, payload: Payload, publisher: str, *parts: str, **more: Any) -> dict[str, Any]:
    """A notification. publisher: host@backend. parts: what its id is made of, besides the event."""
    return {
        "message_id": str(uuid.uuid5(_IDS, "\0".join((event_type, *parts)))),
        "event_type": event_type,
        "publisher_id": f"volume.{publisher}",
        "priority": "ERROR" if event_type.endswith(".error") else "INFO",
        "timestamp": clock.now().isoformat(),
        **more,
        "payload": payload,
    }
