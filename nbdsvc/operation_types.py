"""All types of operations: a journal may hold any of them, also one that no request of this process has loaded.

Each is loaded when its first operation is found, as the routes are with their first request (nbdsvc/api/resources.py): a
service that never moves, groups or backs up a volume has none of that in its memory, 1.2 MiB together.
"""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from nbdsvc.late_modules import LateModules
from nbdsvc.operations.operation_type import OperationType

# The name of a type -> the module of this package that defines it.
MODULES: Mapping[str, str] = {
    "volume.accept_transfer": "transfers.accept",
    "volume.create": "volumes.create",
    "volume.delete": "volumes.delete",
    "volume.extend": "volumes.extend",
    "volume.finish_move": "volumes.moves.left",
    "image.import": "volumes.import_image",
    "volume.manage": "volumes.manage",
    "volume.promote_replica": "volumes.promote_replica",
    "volume.reenable_replication": "volumes.reenable_replication",
    "volume.migrate_in_cluster": "volumes.moves.in_cluster",
    "volume.migrate_in_use": "volumes.moves.in_use",
    "volume.migrate_in_use_between_hosts": "volumes.moves.between_in_use",
    "volume.migrate": "volumes.migrate",
    "volume.migrate_between_hosts": "volumes.migrate",
    "volume.retype": "volumes.retype",
    "volume.retype_between_hosts": "volumes.retype",
    "volume.reimage": "volumes.reimage",
    "volume.revert": "volumes.revert",
    "volume.unmanage": "volumes.unmanage",
    "volume.upload": "volumes.upload",
    "volume.upload_to_glance": "volumes.upload_to_glance",
    "volume.verify": "volumes.verify",
    "snapshot.create": "snapshots.create",
    "snapshot.delete": "snapshots.delete",
    "snapshot.manage": "snapshots.manage",
    "snapshot.unmanage": "snapshots.unmanage",
    "group.create": "groups.create",
    "group.create_from_source": "groups.create_from_source",
    "group.update": "groups.update",
    "group.delete": "groups.delete",
    "group.replicate": "groups.replicate",
    "group_snapshot.create": "groups.snapshots.create",
    "group_snapshot.delete": "groups.snapshots.delete",
    "backup.create": "backups.create",
    "backup.restore": "backups.restore",
    "backup.delete": "backups.delete",
    "backup.import": "backups.import_record",
    "backup.verify": "backups.verify",
    "backup.collect": "backups.collect",
    "attachment.connect": "attachments.connect",
    "attachment.delete": "attachments.delete",
    "attachment.terminate": "attachments.terminate_connection",
    "volume.detach_all": "attachments.detach_all",
    "attachment.repair": "attachments.repair",
    "host.list_manageable": "backends.list_manageable",
    "backend.freeze": "backends.freeze",
    "backend.failover": "backends.failover",
    "backend.thaw": "backends.thaw",
    "host.set_log": "backends.set_log",
    "host.get_log": "backends.get_log",
    "host.limit_exports": "qos.keep",
    "host.explain": "explain.host_operation",
}
# The types whose operations are forgotten soon: see OperationType.ephemeral.
EPHEMERAL = (
    "volume.finish_move",
    "backup.collect",
    "host.list_manageable",
    "host.set_log",
    "host.get_log",
    "host.limit_exports",
    "host.explain",
)
_LATE = LateModules(f"nbdsvc.{name}" for name in MODULES.values())


class OperationTypes(Mapping[str, OperationType[Any]]):
    """The types by name. Replaced for one that is loaded after nbdsvc was replaced. others: in the place of those."""

    def __init__(self, others: Mapping[str, OperationType[Any]] | None = None) -> None:
        self._loaded = dict(others or {})

    def __getitem__(self, name: str) -> OperationType[Any]:
        if name not in self._loaded:
            defined = _types_of(_LATE.load(f"nbdsvc.{MODULES[name]}"))
            self._loaded[name] = next(each for each in defined if each.name == name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


def _types_of(module: ModuleType) -> Iterator[OperationType[Any]]:
    """Types, and those of tuples of types, such as those of moves within a host and between two."""
    for value in vars(module).values():
        found = value if isinstance(value, tuple) else (value,)
        yield from (each for each in found if isinstance(each, OperationType))


TYPES_BY_NAME = OperationTypes()
