"""Every rule with its default: as in Cinder where it has the operation, else a name that begins with `nbdsvc:`."""

ADMINISTRATOR = "context_is_admin"
# As in Cinder (cinder/policies/base.py), without scopes, which tokens of projects do not have.
_BASE = {
    ADMINISTRATOR: "role:admin",
    "admin_api": "is_admin:True",
    "xena_system_admin_or_project_reader": "role:admin or (role:reader and project_id:%(project_id)s)",
    "xena_system_admin_or_project_member": "role:admin or (role:member and project_id:%(project_id)s)",
}
READER, MEMBER, ADMIN = (
    "rule:xena_system_admin_or_project_reader",
    "rule:xena_system_admin_or_project_member",
    "rule:admin_api",
)
_READERS = """
    backup:get backup:get_all group:get group:get_all group:get_all_group_snapshots group:get_group_snapshot
    limits_extension:used_limits message:get message:get_all
    volume:get volume:get_all volume:get_all_snapshots volume:get_all_transfers volume:get_snapshot
    volume:get_snapshot_metadata volume:get_transfer volume:get_volume_metadata
    volume_extension:availability_zone_list volume_extension:quotas:show volume_extension:type_get
    volume_extension:type_get_all volume_extension:types_extra_specs:index volume_extension:types_extra_specs:show
    volume_extension:volume_encryption_metadata
    nbdsvc:attachment:get nbdsvc:attachment:get_all nbdsvc:extension:get_all nbdsvc:group_type:get
    nbdsvc:group_type:get_all nbdsvc:image:get nbdsvc:image:get_all nbdsvc:operation:get nbdsvc:operation:get_all
    nbdsvc:resource_filter:get_all
"""
_MEMBERS = """
    backup:create backup:delete backup:restore backup:update group:create group:create_group_snapshot group:delete
    group:delete_group_snapshot group:disable_replication group:enable_replication group:failover_replication
    group:list_replication_targets group:update message:delete
    snapshot_extension:snapshot_actions:update_snapshot_status
    volume:accept_transfer volume:attachment_complete volume:attachment_create volume:attachment_delete
    volume:attachment_update volume:create volume:create_snapshot volume:create_transfer volume:create_volume_metadata
    volume:delete volume:delete_snapshot volume:delete_snapshot_metadata volume:delete_transfer
    volume:delete_volume_metadata volume:extend volume:reimage volume:retype volume:revert_to_snapshot volume:update
    volume:update_readonly_flag volume:update_snapshot volume:update_snapshot_metadata volume:update_volume_metadata
    volume_extension:volume_actions:attach volume_extension:volume_actions:begin_detaching
    volume_extension:volume_actions:detach volume_extension:volume_actions:initialize_connection
    volume_extension:volume_actions:reserve volume_extension:volume_actions:roll_detaching
    volume_extension:volume_actions:terminate_connection volume_extension:volume_actions:unreserve
    volume_extension:volume_actions:upload_image volume_extension:volume_image_metadata:remove
    volume_extension:volume_image_metadata:set
    nbdsvc:backup:verify nbdsvc:image:create nbdsvc:image:delete nbdsvc:image:update
    nbdsvc:operation:cancel nbdsvc:operation:limit nbdsvc:volume:verify
"""
_ADMINISTRATORS = """
    backup:backup-import backup:export-import clusters:get clusters:get_all clusters:update
    group:group_types:create group:group_types:delete group:group_types:update group:group_types_specs:create
    group:group_types_specs:delete group:group_types_specs:get group:group_types_specs:get_all
    group:group_types_specs:update group:reset_group_snapshot_status group:reset_status
    scheduler_extension:scheduler_stats:get_pools snapshot_extension:list_manageable
    snapshot_extension:snapshot_manage snapshot_extension:snapshot_unmanage
    volume:failover_host volume:force_delete volume:freeze_host volume:thaw_host
    volume_extension:backup_admin_actions:force_delete volume_extension:backup_admin_actions:reset_status
    volume_extension:capabilities volume_extension:default_get volume_extension:default_get_all
    volume_extension:default_set_or_update volume_extension:default_unset volume_extension:hosts
    volume_extension:list_manageable volume_extension:qos_specs_manage:create volume_extension:qos_specs_manage:delete
    volume_extension:qos_specs_manage:get volume_extension:qos_specs_manage:get_all
    volume_extension:qos_specs_manage:update volume_extension:quota_classes:get volume_extension:quota_classes:update
    volume_extension:quotas:delete volume_extension:quotas:update volume_extension:replication:promote
    volume_extension:replication:reenable volume_extension:services:index volume_extension:services:update
    volume_extension:snapshot_admin_actions:force_delete volume_extension:snapshot_admin_actions:reset_status
    volume_extension:type_create volume_extension:type_delete volume_extension:type_update
    volume_extension:types_extra_specs:create volume_extension:types_extra_specs:delete
    volume_extension:types_extra_specs:update volume_extension:volume_admin_actions:extend_volume_completion
    volume_extension:volume_admin_actions:force_delete volume_extension:volume_admin_actions:force_detach
    volume_extension:volume_admin_actions:migrate_volume
    volume_extension:volume_admin_actions:migrate_volume_completion
    volume_extension:volume_admin_actions:reset_status volume_extension:volume_manage
    volume_extension:volume_type_access:addProjectAccess volume_extension:volume_type_access:get_all_for_type
    volume_extension:volume_type_access:removeProjectAccess volume_extension:volume_type_encryption:create
    volume_extension:volume_type_encryption:delete volume_extension:volume_type_encryption:get
    volume_extension:volume_type_encryption:update volume_extension:volume_unmanage workers:cleanup
    nbdsvc:backup:collect nbdsvc:explain:get nbdsvc:explain:mend nbdsvc:group_type_access:add
    nbdsvc:group_type_access:get_all nbdsvc:group_type_access:remove nbdsvc:host:evacuate nbdsvc:host:lost
    nbdsvc:host:return nbdsvc:host:take_over nbdsvc:image_cache:delete nbdsvc:image_cache:get_all
    nbdsvc:placement:get
"""
# Name -> text, in the language of language.py.
DEFAULTS: dict[str, str] = {
    **_BASE,
    **dict.fromkeys(_READERS.split(), READER),
    **dict.fromkeys(_MEMBERS.split(), MEMBER),
    **dict.fromkeys(_ADMINISTRATORS.split(), ADMIN),
}
