"""What each microversion brought: one table, whose last row is the newest version served.

Routes and views name their versions by the constants below. docs/api.md has the same table for readers, and
tests/api/test_steps_of_versions.py tries every row: what it brought is there, and in the version before it is not.
"""

from dataclasses import dataclass

Version = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """One microversion."""

    minor: int
    what: str

    @property
    def version(self) -> Version:
        """(3, minor)."""
        return 3, self.minor


STEPS = tuple(
    Step(*row)
    for row in (
        (0, "The API as it was before microversions."),
        (1, "`os-volume_upload_image` takes `visibility` and `protected`."),
        (2, "The filter `bootable` refuses what is no boolean."),
        (3, "`messages`."),
        (4, "The filter `glance_metadata` of volumes."),
        (5, "Paging and sorting of `messages`."),
        (6, "Updates of consistency groups to an empty name."),
        (7, "`clusters`, and `cluster` in `os-services`."),
        (8, "`manageable_volumes` and `manageable_snapshots`."),
        (9, "Updates of backups."),
        (10, "The filter `group_id` of volumes."),
        (11, "Group types."),
        (12, "`volumes/summary`."),
        (13, "Groups, and `group_id` of volumes."),
        (14, "Group snapshots, and `group_snapshot_id` of snapshots."),
        (15, "`ETag` and `If-Match` of metadata."),
        (16, "Migration to a cluster."),
        (17, "`cluster` of manageable objects."),
        (18, "`os-backup-project-attr:project_id` of backups."),
        (19, "`reset_status` of group snapshots."),
        (20, "`reset_status` of groups."),
        (21, "`provider_id` of volumes, for administrators."),
        (22, "The filter `metadata` of snapshots."),
        (23, "`force` of `DELETE volumes/ID`."),
        (24, "`workers/cleanup`."),
        (25, "`list_volume` of groups."),
        (26, "`os-services/failover`."),
        (27, "`attachments`."),
        (28, "Filters of pools."),
        (29, "Filters of group snapshots; sorting and paging, every version does."),
        (30, "Snapshots sorted by `name`; every version does."),
        (31, "A filter that is not known is refused."),
        (32, "`os-services/set-log` and `get-log`."),
        (33, "`resource_filters`."),
        (34, "Filters by a part of a text, `name~=`."),
        (35, "The filter `volume_type` of pools."),
        (36, "`metadata` in `volumes/summary`."),
        (37, "Backups sorted by `name`; every version does."),
        (38, "Replication of groups."),
        (39, "`project_id` of `limits`."),
        (40, "`revert`."),
        (41, "`user_id` of snapshots."),
        (42, "`os-extend` of a volume in use."),
        (43, "Metadata of backups."),
        (44, "`os-complete` of attachments."),
        (45, "`with_count` of the lists of volumes, snapshots and backups."),
        (46, "Volumes from images without bytes, which name a snapshot of a root volume."),
        (47, "`backup_id` of a new volume."),
        (48, "`shared_targets` and `service_uuid` of volumes."),
        (49, "`backend_state` in `os-services`."),
        (50, "A sign for clients that volumes may be attached several times; every version can."),
        (51, "`availability_zone` of a new backup."),
        (52, "The filter `extra_specs` of volume types."),
        (53, "A new volume with an unknown field, and an update without a known one, are refused."),
        (54, "`mode` of a new attachment."),
        (55, "`no_snapshots` of transfers: the snapshots of a volume go with it."),
        (56, "`user_id` of backups."),
        (57, "`source_project_id`, `destination_project_id` and `accepted` of transfers."),
        (58, "`project_id` of groups and group snapshots."),
        (59, "Sorting and paging of transfers."),
        (60, "Filters `created_at` and `updated_at` of volumes."),
        (61, "`cluster_name` of volumes, for administrators."),
        (62, "`default-types`."),
        (63, "`volume_type_id` of volumes."),
        (64, "`encryption_key_id` of encrypted volumes; there are none."),
        (65, "`consumes_quota` of volumes and snapshots, and the filter."),
        (66, "A snapshot of a volume in use needs no `force`; `force` false is refused."),
        (67, "Paths without a project; every version serves them."),
        (68, "`os-reimage`."),
        (69, "`shared_targets` may be null; here it never is."),
        (70, "Transfers of encrypted volumes; there are none."),
        (71, "`os-extend_volume_completion`."),
    )
)

STRICT_BOOTABLE = (3, 2)
COUNT, NOVA_IMAGE, BACKUP_SOURCE, SHARED_TARGETS = (3, 45), (3, 46), (3, 47), (3, 48)
BACKEND_STATE, BACKUP_ZONE, TYPE_FILTER, STRICT, ATTACHMENT_MODE = (3, 49), (3, 51), (3, 52), (3, 53), (3, 54)
TRANSFERRED_SNAPSHOTS, BACKUP_USER, TRANSFER_HISTORY = (3, 55), (3, 56), (3, 57)
GROUP_PROJECT, TRANSFER_PAGES = (3, 58), (3, 59)
TIME_FILTERS, CLUSTER_NAME, DEFAULT_TYPES, VOLUME_TYPE_ID = (3, 60), (3, 61), (3, 62), (3, 63)
CONSUMES_QUOTA, SNAPSHOT_IN_USE, REIMAGE, EXTEND_COMPLETION = (3, 65), (3, 66), (3, 68), (3, 71)
