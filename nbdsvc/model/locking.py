"""The names that an operation locks, as one table: which operations exclude each other on a host.

An attachment's end locks its attachment and nothing else, so that it waits for no copy: neither an upload of the
volume nor its extension, a snapshot or a copy of it concerns the attachment's server. An operation that starts or
repairs that server, or removes the volume below it, locks the attachment too.
"""

from collections.abc import Callable

from nbdsvc.model import names
from nbdsvc.model.operation import Lock

# Resource in the table -> the name of its lock, made of its id (of a pool or a backend: of its host).
_NAMES: dict[str, Callable[[str], str]] = {
    "volume": str,
    "deletion": names.delete_volume_lock,
    "connects": names.connect_volume_lock,
    "attachment": names.attachment_lock,
    "snapshot": names.delete_snapshot_lock,
    "source": str,
    "source_deletion": names.delete_volume_lock,
    "source_connects": names.connect_volume_lock,
    "pool": names.manage_lock,
    "backend": names.freeze_lock,
}

# operation type -> resources; "~": a shared lock. Operations that change or read a volume's bytes hold its `volume` lock;
# operations that need the volume to stay share its `deletion` lock; `connects`: one at a time, because what the
# initiators of one volume share (the target of LIO) is looked at before it is changed. Clones share that of
# their source, so that no attachment begins to write what they copy.
TABLE: dict[str, tuple[str, ...]] = {
    "volume.create": ("volume", "snapshot~", "source~", "source_deletion~", "source_connects~"),
    "volume.delete": ("volume", "deletion", "snapshot", "attachment"),
    "volume.extend": ("volume",),
    "volume.upload": ("volume", "deletion~"),
    "volume.upload in use": ("volume~", "deletion~"),
    "volume.revert": ("volume", "snapshot"),
    "volume.verify": ("volume",),
    "volume.accept_transfer": ("volume", "deletion~"),
    "volume.promote_replica": ("volume", "deletion~"),
    "volume.reenable_replication": ("volume", "deletion~"),
    "volume.detach_all": ("attachment",),
    "volume.migrate": ("volume", "deletion"),
    "volume.retype": ("volume", "deletion"),
    "volume.migrate_between_hosts": ("volume", "deletion"),
    "volume.retype_between_hosts": ("volume", "deletion"),
    "volume.migrate_in_use": ("volume", "deletion"),
    "volume.finish_move": ("volume", "deletion"),
    "volume.manage": ("volume", "pool"),
    "volume.unmanage": ("volume", "deletion", "pool"),
    "snapshot.create": ("snapshot", "deletion~", "volume"),
    "snapshot.delete": ("snapshot",),
    "snapshot.manage": ("snapshot", "deletion~", "pool"),
    "snapshot.unmanage": ("snapshot", "pool"),
    "attachment.connect": ("volume~", "connects", "attachment"),
    "attachment.delete": ("attachment",),
    "attachment.terminate": ("attachment",),
    "attachment.repair": ("attachment",),
    "host.list_manageable": (),
    "host.set_log": (),
    "host.get_log": (),
    "backend.freeze": ("backend",),
    "backend.thaw": ("backend",),
    "host.explain": (),
    "backend.failover": ("backend", "volume", "deletion", "connects", "attachment"),
}


def locks(kind: str, **ids: str | list[str] | None) -> list[Lock]:
    """The locks of an operation of this kind (or of a case of it, as in the table) on what has these ids.

    ids: by the words of the table, each one or several; `deletion` and `connects` are those of `volume`.
    """
    found = {**dict.fromkeys(("deletion", "connects"), ids.get("volume")), **ids}
    found["source_deletion"] = found["source_connects"] = ids.get("source")
    return [
        Lock(_NAMES[name](id), word.endswith("~"))
        for word in TABLE[kind]
        for name in [word.rstrip("~")]
        for id in _listed(found.get(name))
    ]


def _listed(ids: str | list[str] | None) -> list[str]:
    return [] if ids is None else [ids] if isinstance(ids, str) else ids
