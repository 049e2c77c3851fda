"""Identifiers and the names that backends and clients see for them."""

import re
import uuid

VOLUME_PREFIX = "volume-"
# LVM keeps names that begin with "snapshot" for itself, hence the underscore.
SNAPSHOT_PREFIX = "_snapshot-"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh random UUID in its canonical form."""
    return str(uuid.uuid4())


def host_id(host: str) -> str:
    """The id by which an operation is about a host, which has no row and may have a longer name (RFC 4122, version 5)."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, host))


def is_id(text: str) -> bool:
    """Whether the text is a UUID in canonical lower-case form: only such ids become file or LV names."""
    return bool(_UUID.fullmatch(text))


def volume_name(volume_id: str) -> str:
    return VOLUME_PREFIX + volume_id


def snapshot_name(snapshot_id: str) -> str:
    return SNAPSHOT_PREFIX + snapshot_id


def parse_name(name: str) -> tuple[str, str] | None:
    """("volume" | "snapshot", id) for a name that is ours, else None."""
    for kind, prefix in (("volume", VOLUME_PREFIX), ("snapshot", SNAPSHOT_PREFIX)):
        if name.startswith(prefix) and is_id(name[len(prefix) :]):
            return kind, name[len(prefix) :]
    return None


def export_name(volume_id: str) -> str:
    """The NBD export name of a volume."""
    return volume_name(volume_id)


def growing_name(export: str) -> str:
    """The name by which an export's size is left to its client: for one that gives its device a larger size later.

    An NBD server tells a size once a connection, and refuses what lies beyond; the kernel's client can have its device
    grow but not its connections.
    """
    return f"{export}+growing"


def split_host(host: str) -> tuple[str, str, str]:
    """("host", "backend", "pool") of `host@backend#pool`; parts that are missing are empty."""
    rest, _, pool = host.partition("#")
    name, _, backend = rest.partition("@")
    return name, backend, pool


def join_host(name: str, backend: str, pool: str = "") -> str:
    return f"{name}@{backend}" + (f"#{pool}" if pool else "")


def delete_volume_lock(volume_id: str) -> str:
    """Name of the lock that a volume's deletion takes, and operations that read the volume share."""
    return f"{volume_id}-delete_volume"


def attachment_lock(attachment_id: str) -> str:
    """Name of the lock of operations that start, repair or end an attachment's export."""
    return f"{attachment_id}-attachment"


def connect_volume_lock(volume_id: str) -> str:
    return f"{volume_id}-connect_volume"


def manage_lock(host: str) -> str:
    """Taking over is one at a time in a backend: two requests for the same object must not both find it free."""
    return f"manage-{'-'.join(split_host(host)[:2])}"


def freeze_lock(host: str) -> str:
    """Freezes and thaws of a backend run in the order in which they were requested."""
    return f"freeze-{'-'.join(split_host(host)[:2])}"


def delete_snapshot_lock(snapshot_id: str) -> str:
    return f"{snapshot_id}-delete_snapshot"
