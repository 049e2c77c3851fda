"""Where backups go, and how they are made."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Backups:
    """Where backups go, and how they are made."""

    # Folder of backups: on another disk or server than the volumes, or both are lost together. Hosts that share an NFS
    # mount name the same one. Empty: state_dir/backups, which is good for trying things out.
    backup_store: str = ""
    # File of 64 hexadecimal digits (openssl rand -hex 32) that only its owner may read: backups are sealed by this key
    # (AES-256-GCM), and without it nothing of them can be restored. Keep a copy elsewhere. Empty: they are not sealed.
    backup_key_file: Path | None = None
    # zstd or none.
    backup_compression: str = "zstd"
    # A volume in use is read from a snapshot that is there as long as the backup is being made; off: from a clone.
    backup_use_temp_snapshot: bool = True

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.backup_compression not in ("zstd", "none"), "backup_compression", "must be zstd or none")
