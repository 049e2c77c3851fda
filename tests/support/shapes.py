"""The keys of every reply, as the block-storage API documents them for each microversion; no code of the service in it.

A shape is a dictionary of keys: what is under a key is another shape, a list of one, or None for any value. A key is
written `name@3.13!?`: from 3.13 on, for administrators only, present only where there is something to say.

Source: the closed response schemas of tempest 47, and the API reference and the views of Cinder for what these leave open
(from which microversion, for whom). Where the two differ the closed schema counts, because clients check it.
"""

import re
from typing import Any

Shape = Any
Version = tuple[int, int]

_KEY = re.compile(r"(?P<name>.*?)(@(?P<major>\d+)\.(?P<minor>\d+))?(?P<admin>!)?(?P<maybe>\?)?")


def keys(text: str, **nested: Shape) -> dict[str, Shape]:
    return dict.fromkeys(text.split()) | nested


def faults(shape: Shape, value: Any, version: Version, admin: bool, where: str = "") -> list[str]:
    """What a reply has that it may not have, and what it lacks."""
    if shape is None:
        return []
    if isinstance(shape, list):
        if not isinstance(value, list) or not value:
            return [f"{where}: no list with anything in it"]
        return [fault for each in value for fault in faults(shape[0], each, version, admin, f"{where}[]")]
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    known, found = {}, []
    for key, below in shape.items():
        parts = _KEY.fullmatch(key)
        assert parts
        since = (int(parts["major"] or 3), int(parts["minor"] or 0))
        if version < since or (parts["admin"] and not admin):
            continue
        known[parts["name"]] = below
        if parts["name"] not in value and not parts["maybe"]:
            found.append(f"{where}.{parts['name']} is missing")
    found += [f"{where}.{key} is not documented" for key in value if key not in known]
    for key in known.keys() & value.keys():
        found += faults(known[key], value[key], version, admin, f"{where}.{key}")
    return found


def boundaries(shape: Shape) -> set[Version]:
    """The versions at which keys come."""
    if isinstance(shape, list):
        return boundaries(shape[0])
    if not isinstance(shape, dict):
        return set()
    found = {(int(major), int(minor)) for key in shape for major, minor in re.findall(r"@(\d+)\.(\d+)", key)}
    return found.union(*(boundaries(below) for below in shape.values()))


LINK = keys("rel href")
VOLUME_SHORT = keys("id name", links=[LINK])
ATTACHED = keys("id attachment_id volume_id server_id host_name device attached_at")
# Without what came with a microversion: what taking over a volume answers.
VOLUME_OLD = VOLUME_SHORT | keys(
    """status size availability_zone created_at updated_at description volume_type snapshot_id source_volid metadata user_id
    bootable encrypted replication_status consistencygroup_id multiattach attachments migration_status!"""
)
VOLUME = VOLUME_OLD | keys(
    """group_id@3.13 provider_id@3.21! shared_targets@3.48 service_uuid@3.48 cluster_name@3.61! volume_type_id@3.63
    consumes_quota@3.65"""
)
VOLUME_FULL = VOLUME | keys(
    """os-vol-tenant-attr:tenant_id os-vol-host-attr:host! os-vol-mig-status-attr:migstat!
    os-vol-mig-status-attr:name_id! volume_image_metadata""",
    attachments=[ATTACHED],
)
SNAPSHOT_SHORT = keys("id name description volume_id status size created_at updated_at metadata")
SNAPSHOT = SNAPSHOT_SHORT | keys("group_snapshot_id@3.14 user_id@3.41 consumes_quota@3.65")
SNAPSHOT_FULL = SNAPSHOT | keys("os-extended-snapshot-attributes:progress os-extended-snapshot-attributes:project_id")
BACKUP_SHORT = keys("id name", links=[LINK])
BACKUP_MADE = BACKUP_SHORT | keys("metadata@3.43")
BACKUP = BACKUP_MADE | keys(
    """status size object_count availability_zone container created_at updated_at description fail_reason volume_id
    is_incremental has_dependent_backups snapshot_id data_timestamp os-backup-project-attr:project_id@3.18 user_id@3.56"""
)
ATTACHMENT_SHORT = keys("id status instance volume_id")
ATTACHMENT = ATTACHMENT_SHORT | keys("attached_at detached_at attach_mode connection_info")
TYPE = keys("id name description is_public extra_specs")
TYPE_CREATED = TYPE | keys("os-volume-type-access:is_public")
TYPE_FULL = TYPE_CREATED | keys("qos_specs_id!")
TYPE_DEFAULT = TYPE | keys("qos_specs_id!")
TYPE_UPLOADED = TYPE | keys("qos_specs_id created_at updated_at deleted deleted_at")
UPLOADED = keys(
    """id updated_at status display_description size image_id container_format disk_format image_name visibility@3.1
    protected@3.1""",
    volume_type=TYPE_UPLOADED,
)
ENCRYPTION = keys("volume_type_id encryption_id provider cipher key_size control_location")
QOS = keys("id name consumer specs")
GROUP_TYPE = keys("id name description is_public group_specs!")
NAMED = keys("id name")
CONSISTENCY_GROUP = NAMED | keys("status availability_zone created_at description volume_types")
GROUP = CONSISTENCY_GROUP | keys(
    "group_type group_snapshot_id@3.14 source_group_id@3.14 replication_status@3.38 project_id@3.58"
)
GROUP_SNAPSHOT_SHORT = NAMED | keys("group_type_id")
GROUP_SNAPSHOT = GROUP_SNAPSHOT_SHORT | keys("group_id status created_at description project_id@3.58")
CGSNAPSHOT = NAMED | keys("consistencygroup_id status created_at description")
TRANSFER_SHORT = keys("id name volume_id", links=[LINK])
TRANSFER = TRANSFER_SHORT | keys(
    "created_at no_snapshots@3.55 source_project_id@3.57 destination_project_id@3.57 accepted@3.57"
)
MESSAGE = keys(
    """id event_id user_message message_level resource_type resource_uuid request_id created_at guaranteed_until""",
    links=[LINK],
)
SERVICE = keys(
    """binary host zone status state updated_at disabled_reason replication_status active_backend_id frozen cluster@3.7
    backend_state@3.49"""
)
SERVICE_DISABLED = keys("host service binary disabled status")
SERVICE_CHANGED = SERVICE_DISABLED | keys("disabled_reason")
HOST = keys("host_name service zone service-status service-state last-update")
HOST_USE = keys("host project volume_count total_volume_gb snapshot_count total_snapshot_gb")
QUOTAS = "volumes snapshots gigabytes per_volume_gigabytes backups backup_gigabytes groups"
USE = keys("limit in_use reserved")
ABSOLUTE = keys(
    """maxTotalVolumes maxTotalSnapshots maxTotalVolumeGigabytes maxTotalBackups maxTotalBackupGigabytes totalVolumesUsed
    totalSnapshotsUsed totalGigabytesUsed totalBackupsUsed totalBackupGigabytesUsed"""
)
CAPABILITIES = keys(
    """namespace pool_name display_name description visibility storage_protocol replication_targets vendor_name
    volume_backend_name driver_version properties"""
)
MANAGEABLE = keys("reference size safe_to_manage")
MANAGEABLE_FULL = MANAGEABLE | keys("reason_not_safe cinder_id extra_info")
EXTENSION = keys("alias name updated description links")
DOCUMENT = keys("id status version min_version updated", links=[LINK], **{"media-types": [keys("base type")]})
# Fields that are nbdsvc's own.
PROGRESS = keys("done total text data rate seconds_left")
OPERATION = keys(
    """id kind state resource_type resource_id request_id error continued_by tried skipped cancel_requested rate attempts created_at started_at
    finished_at host! step_host!""",
    progress=PROGRESS,
)
