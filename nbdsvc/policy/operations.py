"""Which rule an operation has: by method and path as the route has it, and for an action by its name too.

A route that is not here is not served: it fails when it is loaded (nbdsvc/api/strict.py).
"""

# One operation a line: method, path behind /v3, rule. In Cinder several operations share a rule; so do they here.
_ROUTES = """
POST   /volumes volume:create
GET    /volumes volume:get_all
GET    /volumes/detail volume:get_all
GET    /volumes/summary volume:get_all
GET    /volumes/{id} volume:get
PUT    /volumes/{id} volume:update
DELETE /volumes/{id} volume:delete
GET    /volumes/{id}/metadata volume:get_volume_metadata
POST   /volumes/{id}/metadata volume:create_volume_metadata
PUT    /volumes/{id}/metadata volume:update_volume_metadata
GET    /volumes/{id}/metadata/{key} volume:get_volume_metadata
PUT    /volumes/{id}/metadata/{key} volume:update_volume_metadata
DELETE /volumes/{id}/metadata/{key} volume:delete_volume_metadata
GET    /types/{id}/encryption volume_extension:volume_type_encryption:get
GET    /types/{id}/encryption/{key} volume_extension:volume_type_encryption:get
POST   /types/{id}/encryption volume_extension:volume_type_encryption:create
PUT    /types/{id}/encryption/{encryption_id} volume_extension:volume_type_encryption:update
DELETE /types/{id}/encryption/{encryption_id} volume_extension:volume_type_encryption:delete
GET    /volumes/{id}/encryption volume_extension:volume_encryption_metadata
GET    /volumes/{id}/encryption/{key} volume_extension:volume_encryption_metadata
POST   /snapshots volume:create_snapshot
GET    /snapshots volume:get_all_snapshots
GET    /snapshots/detail volume:get_all_snapshots
GET    /snapshots/{id} volume:get_snapshot
PUT    /snapshots/{id} volume:update_snapshot
DELETE /snapshots/{id} volume:delete_snapshot
GET    /snapshots/{id}/metadata volume:get_snapshot_metadata
POST   /snapshots/{id}/metadata volume:update_snapshot_metadata
PUT    /snapshots/{id}/metadata volume:update_snapshot_metadata
GET    /snapshots/{id}/metadata/{key} volume:get_snapshot_metadata
PUT    /snapshots/{id}/metadata/{key} volume:update_snapshot_metadata
DELETE /snapshots/{id}/metadata/{key} volume:delete_snapshot_metadata
POST   /attachments volume:attachment_create
GET    /attachments nbdsvc:attachment:get_all
GET    /attachments/detail nbdsvc:attachment:get_all
GET    /attachments/{id} nbdsvc:attachment:get
PUT    /attachments/{id} volume:attachment_update
DELETE /attachments/{id} volume:attachment_delete
GET    /types volume_extension:type_get_all
POST   /types volume_extension:type_create
GET    /types/default volume_extension:type_get
GET    /types/{id} volume_extension:type_get
PUT    /types/{id} volume_extension:type_update
DELETE /types/{id} volume_extension:type_delete
GET    /types/{id}/extra_specs volume_extension:types_extra_specs:index
POST   /types/{id}/extra_specs volume_extension:types_extra_specs:create
GET    /types/{id}/extra_specs/{key} volume_extension:types_extra_specs:show
PUT    /types/{id}/extra_specs/{key} volume_extension:types_extra_specs:update
DELETE /types/{id}/extra_specs/{key} volume_extension:types_extra_specs:delete
GET    /types/{id}/os-volume-type-access volume_extension:volume_type_access:get_all_for_type
GET    /limits limits_extension:used_limits
GET    /os-quota-sets/{project}/defaults volume_extension:quotas:show
GET    /os-quota-sets/{project} volume_extension:quotas:show
PUT    /os-quota-sets/{project} volume_extension:quotas:update
DELETE /os-quota-sets/{project} volume_extension:quotas:delete
GET    /os-quota-class-sets/{name} volume_extension:quota_classes:get
PUT    /os-quota-class-sets/{name} volume_extension:quota_classes:update
GET    /os-services volume_extension:services:index
PUT    /os-services/enable volume_extension:services:update
PUT    /os-services/disable volume_extension:services:update
PUT    /os-services/disable-log-reason volume_extension:services:update
PUT    /os-services/freeze volume:freeze_host
PUT    /os-services/thaw volume:thaw_host
PUT    /os-services/failover_host volume:failover_host
PUT    /os-services/failover volume:failover_host
PUT    /os-services/set-log volume_extension:services:update
PUT    /os-services/get-log volume_extension:services:update
PUT    /os-services/evacuate nbdsvc:host:evacuate
PUT    /os-services/lost nbdsvc:host:lost
PUT    /os-services/take-over nbdsvc:host:take_over
PUT    /os-services/return nbdsvc:host:return
GET    /os-hosts volume_extension:hosts
GET    /os-hosts/{host} volume_extension:hosts
PUT    /os-hosts/{host} volume_extension:hosts
POST   /workers/cleanup workers:cleanup
GET    /clusters clusters:get_all
GET    /clusters/detail clusters:get_all
GET    /clusters/{cluster_name} clusters:get
PUT    /clusters/enable clusters:update
PUT    /clusters/disable clusters:update
GET    /scheduler-stats/get_pools scheduler_extension:scheduler_stats:get_pools
GET    /capabilities/{host} volume_extension:capabilities
GET    /scheduler-stats/placement nbdsvc:placement:get
GET    /os-availability-zone volume_extension:availability_zone_list
GET    /extensions nbdsvc:extension:get_all
GET    /resource_filters nbdsvc:resource_filter:get_all
GET    /operations nbdsvc:operation:get_all
GET    /operations/{id} nbdsvc:operation:get
GET    /messages message:get_all
GET    /messages/{id} message:get
DELETE /messages/{id} message:delete
GET    /images nbdsvc:image:get_all
POST   /images nbdsvc:image:create
GET    /images/{id} nbdsvc:image:get
PUT    /images/{id} nbdsvc:image:update
DELETE /images/{id} nbdsvc:image:delete
GET    /image-cache nbdsvc:image_cache:get_all
DELETE /image-cache/{id} nbdsvc:image_cache:delete
GET    /explain nbdsvc:explain:get
POST   /explain nbdsvc:explain:mend
POST   /manageable_volumes volume_extension:volume_manage
POST   /os-volume-manage volume_extension:volume_manage
POST   /manageable_snapshots snapshot_extension:snapshot_manage
POST   /os-snapshot-manage snapshot_extension:snapshot_manage
GET    /manageable_volumes volume_extension:list_manageable
GET    /os-volume-manage volume_extension:list_manageable
GET    /manageable_volumes/detail volume_extension:list_manageable
GET    /os-volume-manage/detail volume_extension:list_manageable
GET    /manageable_snapshots snapshot_extension:list_manageable
GET    /os-snapshot-manage snapshot_extension:list_manageable
GET    /manageable_snapshots/detail snapshot_extension:list_manageable
GET    /os-snapshot-manage/detail snapshot_extension:list_manageable
POST   /volume-transfers volume:create_transfer
GET    /volume-transfers volume:get_all_transfers
GET    /volume-transfers/detail volume:get_all_transfers
GET    /volume-transfers/{id} volume:get_transfer
DELETE /volume-transfers/{id} volume:delete_transfer
POST   /volume-transfers/{id}/accept volume:accept_transfer
POST   /os-volume-transfer volume:create_transfer
GET    /os-volume-transfer volume:get_all_transfers
GET    /os-volume-transfer/detail volume:get_all_transfers
GET    /os-volume-transfer/{id} volume:get_transfer
DELETE /os-volume-transfer/{id} volume:delete_transfer
POST   /os-volume-transfer/{id}/accept volume:accept_transfer
GET    /qos-specs volume_extension:qos_specs_manage:get_all
POST   /qos-specs volume_extension:qos_specs_manage:create
GET    /qos-specs/{id} volume_extension:qos_specs_manage:get
PUT    /qos-specs/{id} volume_extension:qos_specs_manage:update
PUT    /qos-specs/{id}/delete_keys volume_extension:qos_specs_manage:delete
DELETE /qos-specs/{id} volume_extension:qos_specs_manage:delete
GET    /qos-specs/{id}/associations volume_extension:qos_specs_manage:get_all
GET    /qos-specs/{id}/associate volume_extension:qos_specs_manage:update
GET    /qos-specs/{id}/disassociate volume_extension:qos_specs_manage:update
GET    /qos-specs/{id}/disassociate_all volume_extension:qos_specs_manage:update
PUT    /default-types/{project} volume_extension:default_set_or_update
GET    /default-types/ volume_extension:default_get_all
GET    /default-types volume_extension:default_get_all
GET    /default-types/{project} volume_extension:default_get
DELETE /default-types/{project} volume_extension:default_unset
GET    /group_types nbdsvc:group_type:get_all
POST   /group_types group:group_types:create
GET    /group_types/default nbdsvc:group_type:get
GET    /group_types/{id} nbdsvc:group_type:get
PUT    /group_types/{id} group:group_types:update
DELETE /group_types/{id} group:group_types:delete
GET    /group_types/{id}/group_specs group:group_types_specs:get_all
POST   /group_types/{id}/group_specs group:group_types_specs:create
GET    /group_types/{id}/group_specs/{key} group:group_types_specs:get
PUT    /group_types/{id}/group_specs/{key} group:group_types_specs:update
DELETE /group_types/{id}/group_specs/{key} group:group_types_specs:delete
GET    /group_types/{id}/nbdsvc-access nbdsvc:group_type_access:get_all
POST   /groups group:create
GET    /groups group:get_all
GET    /groups/detail group:get_all
GET    /groups/{id} group:get
PUT    /groups/{id} group:update
POST   /group_snapshots group:create_group_snapshot
GET    /group_snapshots group:get_all_group_snapshots
GET    /group_snapshots/detail group:get_all_group_snapshots
GET    /group_snapshots/{id} group:get_group_snapshot
DELETE /group_snapshots/{id} group:delete_group_snapshot
GET    /consistencygroups group:get_all
POST   /consistencygroups group:create
POST   /consistencygroups/create_from_src group:create
GET    /consistencygroups/detail group:get_all
GET    /consistencygroups/{id} group:get
POST   /consistencygroups/{id}/delete group:delete
PUT    /consistencygroups/{id} group:update
PUT    /consistencygroups/{id}/update group:update
GET    /cgsnapshots group:get_all_group_snapshots
POST   /cgsnapshots group:create_group_snapshot
GET    /cgsnapshots/detail group:get_all_group_snapshots
GET    /cgsnapshots/{id} group:get_group_snapshot
DELETE /cgsnapshots/{id} group:delete_group_snapshot
GET    /backups/{id}/export_record backup:export-import
POST   /backups/import_record backup:backup-import
POST   /backups/collect nbdsvc:backup:collect
POST   /backups backup:create
GET    /backups backup:get_all
GET    /backups/detail backup:get_all
GET    /backups/{id} backup:get
PUT    /backups/{id} backup:update
DELETE /backups/{id} backup:delete
POST   /backups/{id}/restore backup:restore
"""
# One action a line: path, action, rule.
_ACTIONS = """
/volumes/{id}/action nbdsvc-verify nbdsvc:volume:verify
/volumes/{id}/action os-extend volume:extend
/volumes/{id}/action revert volume:revert_to_snapshot
/volumes/{id}/action os-extend_volume_completion volume_extension:volume_admin_actions:extend_volume_completion
/volumes/{id}/action os-reset_status volume_extension:volume_admin_actions:reset_status
/volumes/{id}/action os-reserve volume_extension:volume_actions:reserve
/volumes/{id}/action os-unreserve volume_extension:volume_actions:unreserve
/volumes/{id}/action os-begin_detaching volume_extension:volume_actions:begin_detaching
/volumes/{id}/action os-roll_detaching volume_extension:volume_actions:roll_detaching
/volumes/{id}/action os-attach volume_extension:volume_actions:attach
/volumes/{id}/action os-detach volume_extension:volume_actions:detach
/volumes/{id}/action os-force_detach volume_extension:volume_admin_actions:force_detach
/volumes/{id}/action os-initialize_connection volume_extension:volume_actions:initialize_connection
/volumes/{id}/action os-terminate_connection volume_extension:volume_actions:terminate_connection
/volumes/{id}/action os-force_delete volume_extension:volume_admin_actions:force_delete
/volumes/{id}/action os-unmanage volume_extension:volume_unmanage
/volumes/{id}/action os-promote-replica volume_extension:replication:promote
/volumes/{id}/action os-reenable-replication volume_extension:replication:reenable
/volumes/{id}/action os-set_bootable volume:update
/volumes/{id}/action os-update_readonly_flag volume:update_readonly_flag
/volumes/{id}/action os-volume_upload_image volume_extension:volume_actions:upload_image
/volumes/{id}/action os-set_image_metadata volume_extension:volume_image_metadata:set
/volumes/{id}/action os-unset_image_metadata volume_extension:volume_image_metadata:remove
/volumes/{id}/action os-show_image_metadata volume:get_volume_metadata
/volumes/{id}/action os-reimage volume:reimage
/volumes/{id}/action os-migrate_volume volume_extension:volume_admin_actions:migrate_volume
/volumes/{id}/action os-migrate_volume_completion volume_extension:volume_admin_actions:migrate_volume_completion
/volumes/{id}/action os-retype volume:retype
/snapshots/{id}/action os-update_snapshot_status snapshot_extension:snapshot_actions:update_snapshot_status
/snapshots/{id}/action os-reset_status volume_extension:snapshot_admin_actions:reset_status
/snapshots/{id}/action os-force_delete volume_extension:snapshot_admin_actions:force_delete
/snapshots/{id}/action os-unmanage snapshot_extension:snapshot_unmanage
/attachments/{id}/action os-complete volume:attachment_complete
/types/{id}/action addProjectAccess volume_extension:volume_type_access:addProjectAccess
/types/{id}/action removeProjectAccess volume_extension:volume_type_access:removeProjectAccess
/operations/{id}/action cancel nbdsvc:operation:cancel
/operations/{id}/action limit nbdsvc:operation:limit
/group_types/{id}/action nbdsvc-addProjectAccess nbdsvc:group_type_access:add
/group_types/{id}/action nbdsvc-removeProjectAccess nbdsvc:group_type_access:remove
/groups/action create-from-src group:create
/groups/{id}/action delete group:delete
/groups/{id}/action reset_status group:reset_status
/groups/{id}/action enable_replication group:enable_replication
/groups/{id}/action disable_replication group:disable_replication
/groups/{id}/action failover_replication group:failover_replication
/groups/{id}/action list_replication_targets group:list_replication_targets
/group_snapshots/{id}/action reset_status group:reset_group_snapshot_status
/backups/{id}/action nbdsvc-verify nbdsvc:backup:verify
/backups/{id}/action os-reset_status volume_extension:backup_admin_actions:reset_status
/backups/{id}/action os-force_delete volume_extension:backup_admin_actions:force_delete
"""
# "GET /volumes" -> rule
OPERATIONS: dict[str, str] = {
    f"{method} {path}": rule for method, path, rule in (line.split() for line in _ROUTES.strip().splitlines())
}
# "/volumes/{id}/action os-extend" -> rule
ACTIONS: dict[str, str] = {
    f"{path} {action}": rule for path, action, rule in (line.split() for line in _ACTIONS.strip().splitlines())
}
_WITH_ACTIONS = frozenset(key.partition(" ")[0] for key in ACTIONS)


def rule_of(method: str, path: str) -> str | None:
    """The rule of a route; None where its body names an action, which has its own. Raises LookupError."""
    if method == "POST" and path in _WITH_ACTIONS:
        return None
    if (rule := OPERATIONS.get(f"{method} {path}")) is None:
        raise LookupError(f"{method} {path} has no rule in nbdsvc/policy/operations.py")
    return rule


def rule_of_action(path: str, action: str) -> str:
    """The rule of an action of a route. Raises LookupError."""
    if (rule := ACTIONS.get(f"{path} {action}")) is None:
        raise LookupError(f"the action {action} of {path} has no rule in nbdsvc/policy/operations.py")
    return rule
