"""Arguments of operations on backups."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BackupArgs:
    """Arguments of the operation `backup.create`."""

    backup_id: str
    volume_id: str
    snapshot_id: str | None = None
    in_use: bool = False
    """The volume is attached while it is read."""


@dataclass(frozen=True)
class OneBackupArgs:
    """Arguments of operations on a backup that need no more."""

    backup_id: str
