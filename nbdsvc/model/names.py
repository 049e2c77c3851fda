"""Identifiers and the names that backends and clients see for them."""

import re
import uuid

VOLUME_PREFIX = "volume-"
# The underscore is there because LVM reserves names that begin with "snapshot".
SNAPSHOT_PREFIX = "_snapshot-"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh random UUID in its canonical form."""
    return str(uuid.uuid4())


def host_id(host: str) -> str:
    """The resource id of an operation on a host, made from the host's name, which may be longer (UUID version 5)."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, host))


def is_id(text: str) -> bool:
    """Whether the text is a UUID in canonical lower-case form: no other id becomes a name of a file or LV."""
    return bool(_UUID.fullmatch(text))


def volume_name(volume_id: str) -> str:
    return VOLUME_PREFIX + volume_id


def snapshot_name(snapshot_id: str) -> str:
    return SNAPSHOT_PREFIX + snapshot_id


def parse_name(name: str) -> tuple[str, str] | None:
    """("volume" | "snapshot", id) for a name of nbdsvc's form, else None."""
    for kind, prefix in (("volume", VOLUME_PREFIX), ("snapshot", SNAPSHOT_PREFIX)):
        if name.startswith(prefix) and is_id(name[len(prefix) :]):
            return kind, name[len(prefix) :]
    return None


def export_name(volume_id: str) -> str:
    """The NBD export name of a volume."""
    return volume_name(volume_id)


def growing_name(export: str) -> str:
    """The export name without a size limit, for clients that set a larger size of their device later.

    An NBD server reports the size once for each connection, and refuses requests beyond; the kernel's client can resize
    its device, but not its connections.
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
    """Name of the lock by which a backend manages one object at a time: two requests must not both find it free."""
    return f"manage-{'-'.join(split_host(host)[:2])}"


def freeze_lock(host: str) -> str:
    """Name of the lock by which freezes and thaws of a backend run in the order of their requests."""
    return f"freeze-{'-'.join(split_host(host)[:2])}"


def backup_lock(backup_id: str) -> str:
    """Name of the lock that changes of a backup take, and operations that read it share."""
    return f"{backup_id}-backup"


def delete_snapshot_lock(snapshot_id: str) -> str:
    return f"{snapshot_id}-delete_snapshot"


# The project of cached images. It has a slash, so that no path of the API can name it.
IMAGE_CACHE = "nbdsvc/image-cache"
