"""Quotas of a project without limits of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Quotas of a project without limits of its own."""

    # Quotas of a project without limits of its own; -1 is unlimited.
    quota_volumes: int = 10
    quota_snapshots: int = 10
    quota_gigabytes: int = 1000
    quota_per_volume_gigabytes: int = -1
    quota_groups: int = 10
    # The most backups of a project, and the most GiB that their volumes may have together; -1 is unlimited.
    quota_backups: int = 10
    quota_backup_gigabytes: int = 1000
    # The most images that a project may upload, and the most GiB that they may take in the image folder; -1 is
    # unlimited.
    quota_images: int = 100
    quota_image_gigabytes: int = 1000

    @property
    def quota_image_bytes(self) -> int:
        return self.quota_image_gigabytes << 30 if self.quota_image_gigabytes >= 0 else -1

    @property
    def quotas(self) -> dict[str, int]:
        return {
            "volumes": self.quota_volumes,
            "snapshots": self.quota_snapshots,
            "gigabytes": self.quota_gigabytes,
            "per_volume_gigabytes": self.quota_per_volume_gigabytes,
            "backups": self.quota_backups,
            "backup_gigabytes": self.quota_backup_gigabytes,
            "groups": self.quota_groups,
        }
