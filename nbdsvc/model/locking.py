"""The names that an operation locks, as one table: which operations exclude each other on a host.

A detach locks only its attachment, so that it does not wait for a copy: uploads, extensions, snapshots and copies of
the volume do not concern the attachment's server. An operation that starts or repairs this server, or removes the
volume that the server has open, locks the attachment, too.
"""

from collections.abc import Callable

from nbdsvc.model import names
from nbdsvc.model.operation import Lock

# Resource in the table -> the name of its lock, made from its id (from its full name for a pool or a backend).
_NAMES: dict[str, Callable[[str], str]] = {
    "volume": str,
    "deletion": names.delete_volume_lock,
    "connects": names.connect_volume_lock,
    "attachment": names.attachment_lock,
    "snapshot": names.delete_snapshot_lock,
    "backup": names.backup_lock,
    "source": str,
    # A volume whose deletion is awaited.
    "awaited": str,
    "source_deletion": names.delete_volume_lock,
    "source_connects": names.connect_volume_lock,
    "group": str,
    "group_snapshot": str,
    "pool": names.manage_lock,
    "backend": names.freeze_lock,
}

# Operation type -> resources; "~": a shared lock. Operations that change or read a volume's bytes hold its `volume`
# lock; operations that need the volume to exist share its `deletion` lock. `connects`: connections of a volume run one
# at a time, because its initiators share a LIO target, whose state is read before it is changed. A clone shares the
# `connects` lock of its source, so that no attachment begins to write to the bytes that are copied.
TABLE: dict[str, tuple[str, ...]] = {
    "volume.create": ("volume", "awaited~", "snapshot~", "source~", "source_deletion~", "source_connects~"),
    "volume.delete": ("volume", "deletion", "snapshot", "attachment"),
    "volume.extend": ("volume",),
    "image.import": (),
    "volume.upload": ("volume", "deletion~"),
    "volume.upload in use": ("volume~", "deletion~"),
    "volume.upload_to_glance": ("volume", "deletion~"),
    "volume.upload_to_glance in use": ("volume~", "deletion~"),
    "volume.revert": ("volume", "snapshot"),
    "volume.reimage": ("volume", "deletion~"),
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
    "volume.migrate_in_use_between_hosts": ("volume", "deletion"),
    "volume.migrate_in_cluster": ("volume", "deletion", "snapshot"),
    "volume.finish_move": ("volume", "deletion"),
    "volume.manage": ("volume", "pool"),
    "volume.unmanage": ("volume", "deletion", "pool"),
    "snapshot.create": ("snapshot", "deletion~", "volume"),
    "snapshot.delete": ("snapshot",),
    "snapshot.manage": ("snapshot", "deletion~", "pool"),
    "snapshot.unmanage": ("snapshot", "pool"),
    "group.create": ("group",),
    "group.create_from_source": (
        "group",
        "group_snapshot~",
        "volume",
        "snapshot~",
        "source~",
        "source_deletion~",
        "source_connects~",
    ),
    "group.update": ("group", "volume", "deletion~"),
    "group.delete": ("group", "volume", "deletion"),
    "group.replicate": ("group", "volume", "deletion~", "connects", "attachment"),
    "group_snapshot.create": ("group", "group_snapshot", "snapshot", "volume", "deletion~"),
    "group_snapshot.delete": ("group_snapshot", "snapshot"),
    "backup.create": ("backup", "volume", "deletion~"),
    "backup.create in use": ("backup", "volume~", "deletion~"),
    "backup.create of a snapshot": ("backup", "snapshot~", "deletion~"),
    "backup.restore": ("backup~", "volume", "deletion~"),
    "backup.delete": ("backup",),
    "backup.import": ("backup",),
    "backup.verify": ("backup~",),
    "backup.collect": (),
    "attachment.connect": ("volume~", "connects", "attachment"),
    "attachment.delete": ("attachment",),
    "attachment.terminate": ("attachment",),
    "attachment.repair": ("attachment",),
    "host.list_manageable": (),
    "host.set_log": (),
    "host.get_log": (),
    "host.limit_exports": (),
    "backend.freeze": ("backend",),
    "backend.thaw": ("backend",),
    "host.explain": (),
    "backend.failover": ("backend", "volume", "deletion", "connects", "attachment"),
}


def locks(kind: str, **ids: str | list[str] | None) -> list[Lock]:
    """The locks of an operation of this type (or of a case of the type in the table) on resources with these ids.

    ids: one id or several for each resource of the table; `deletion` and `connects` use the ids of `volume`.
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
