"""Which events an operation causes: by its kind, and by the resources in its arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbdsvc.model.operation import Operation


@dataclass(frozen=True)
class Subject:
    """What an event is about. noun: volume, snapshot, backup, group, group_snapshot or attachment."""

    event: str
    noun: str
    id: str


# kind of operation -> event; its subject is the operation's resource.
EVENTS: Mapping[str, str] = {
    "volume.create": "volume.create",
    "volume.delete": "volume.delete",
    "volume.extend": "volume.resize",
    "volume.manage": "volume.manage_existing",
    "volume.unmanage": "volume.unmanage",
    "volume.migrate": "volume.migrate",
    "volume.migrate_between_hosts": "volume.migrate",
    "volume.migrate_in_cluster": "volume.migrate",
    "volume.migrate_in_use": "volume.migrate",
    "volume.migrate_in_use_between_hosts": "volume.migrate",
    "volume.retype": "volume.retype",
    "volume.retype_between_hosts": "volume.retype",
    "volume.revert": "volume.revert",
    "volume.reimage": "volume.reimage",
    "volume.upload": "volume.copy_volume_to_image",
    "volume.upload_to_glance": "volume.copy_volume_to_image",
    "volume.accept_transfer": "volume.transfer.accept",
    "snapshot.create": "snapshot.create",
    "snapshot.delete": "snapshot.delete",
    "snapshot.manage": "snapshot.manage_existing",
    "snapshot.unmanage": "snapshot.unmanage",
    "backup.create": "backup.create",
    "backup.delete": "backup.delete",
    "backup.import": "backup.import",
    "group.create": "group.create",
    "group.create_from_source": "group.create",
    "group.update": "group.update",
    "group.delete": "group.delete",
    "group_snapshot.create": "group_snapshot.create",
    "group_snapshot.delete": "group_snapshot.delete",
}
# Of these, the subject is in an argument: kind -> (event, noun, name of the argument).
BY_ARGUMENT: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "attachment.connect": (("volume.attach", "attachment", "attachment_id"),),
    "attachment.delete": (("volume.detach", "attachment", "attachment_id"),),
    "backup.restore": (("backup.restore", "backup", "backup_id"),),
}
# What goes or comes along with the subject of an operation, so that its usage begins or ends: as BY_ARGUMENT, with lists.
MEMBERS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "volume.delete": (
        ("snapshot.delete", "snapshot", "snapshot_ids"),
        ("volume.detach", "attachment", "attachment_ids"),
    ),
    "volume.detach_all": (("volume.detach", "attachment", "attachment_ids"),),
    "group.create_from_source": (("volume.create", "volume", "volume_ids"),),
    "group.delete": (("volume.delete", "volume", "volume_ids"),),
    "group_snapshot.create": (("snapshot.create", "snapshot", "snapshot_ids"),),
    "group_snapshot.delete": (("snapshot.delete", "snapshot", "snapshot_ids"),),
}
# These change nothing that is metered. attachment.terminate: the end of an attachment is its deletion (os-detach).
UNREPORTED = frozenset(
    """volume.finish_move volume.promote_replica volume.reenable_replication volume.verify group.replicate backup.verify
    backup.collect attachment.terminate attachment.repair host.list_manageable host.set_log host.get_log host.explain
    host.limit_exports image.import backend.freeze backend.thaw backend.failover""".split()
)


def subjects(operation: Operation) -> list[Subject]:
    """The subjects of the operation's events: its own first."""
    kind, args = operation.kind, operation.args
    found = [Subject(EVENTS[kind], operation.resource_type, operation.resource_id)] if kind in EVENTS else []
    found += [Subject(event, noun, args[name]) for event, noun, name in BY_ARGUMENT.get(kind, ()) if name in args]
    return found + members(kind, args)


def members(kind: str, args: Mapping[str, Any]) -> list[Subject]:
    """Those that go or come along. A backup that is restored to a new volume creates that."""
    new = (
        [Subject("volume.create", "volume", args["volume_id"])] if kind == "backup.restore" and args.get("new") else []
    )
    listed = [(event, noun, args.get(name) or ()) for event, noun, name in MEMBERS.get(kind, ())]
    return new + [Subject(event, noun, id) for event, noun, ids in listed for id in ids]
