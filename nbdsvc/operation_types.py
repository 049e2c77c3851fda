"""All types of operations: a journal may hold any of them, also one that no request of this process has loaded."""

from nbdsvc.attachments.connect import CONNECT_ATTACHMENT
from nbdsvc.attachments.delete import DELETE_ATTACHMENT
from nbdsvc.attachments.detach_all import DETACH_ALL
from nbdsvc.attachments.repair import REPAIR_EXPORT
from nbdsvc.attachments.terminate_connection import TERMINATE_CONNECTION
from nbdsvc.backends.failover import FAILOVER_BACKEND
from nbdsvc.backends.freeze import FREEZE_BACKEND
from nbdsvc.backends.get_log import GET_LOG
from nbdsvc.backends.list_manageable import LIST_MANAGEABLE
from nbdsvc.backends.set_log import SET_LOG
from nbdsvc.backends.thaw import THAW_BACKEND
from nbdsvc.backups.collect import COLLECT_BACKUPS
from nbdsvc.backups.create import CREATE_BACKUP
from nbdsvc.backups.delete import DELETE_BACKUP
from nbdsvc.backups.import_record import IMPORT_BACKUP
from nbdsvc.backups.restore import RESTORE_BACKUP
from nbdsvc.backups.verify import VERIFY_BACKUP
from nbdsvc.explain.host_operation import EXPLAIN_HOST
from nbdsvc.groups.create import CREATE_GROUP
from nbdsvc.groups.create_from_source import CREATE_GROUP_FROM_SOURCE
from nbdsvc.groups.delete import DELETE_GROUP
from nbdsvc.groups.replicate import REPLICATE_GROUP
from nbdsvc.groups.snapshots.create import CREATE_GROUP_SNAPSHOT
from nbdsvc.groups.snapshots.delete import DELETE_GROUP_SNAPSHOT
from nbdsvc.groups.update import UPDATE_GROUP
from nbdsvc.qos.keep import LIMIT_EXPORTS
from nbdsvc.snapshots.create import CREATE_SNAPSHOT
from nbdsvc.snapshots.delete import DELETE_SNAPSHOT
from nbdsvc.snapshots.manage import MANAGE_SNAPSHOT
from nbdsvc.snapshots.unmanage import UNMANAGE_SNAPSHOT
from nbdsvc.transfers.accept import ACCEPT_TRANSFER
from nbdsvc.volumes.create import CREATE_VOLUME
from nbdsvc.volumes.delete import DELETE_VOLUME
from nbdsvc.volumes.extend import EXTEND_VOLUME
from nbdsvc.volumes.import_image import IMPORT_IMAGE
from nbdsvc.volumes.manage import MANAGE_VOLUME
from nbdsvc.volumes.migrate import MIGRATE
from nbdsvc.volumes.moves.between_in_use import MIGRATE_IN_USE_BETWEEN_HOSTS
from nbdsvc.volumes.moves.in_cluster import MIGRATE_IN_CLUSTER
from nbdsvc.volumes.moves.in_use import MIGRATE_IN_USE
from nbdsvc.volumes.moves.left import FINISH_MOVE
from nbdsvc.volumes.promote_replica import PROMOTE_REPLICA
from nbdsvc.volumes.reenable_replication import REENABLE_REPLICATION
from nbdsvc.volumes.reimage import REIMAGE_VOLUME
from nbdsvc.volumes.retype import RETYPE
from nbdsvc.volumes.revert import REVERT_VOLUME
from nbdsvc.volumes.unmanage import UNMANAGE_VOLUME
from nbdsvc.volumes.upload import UPLOAD_VOLUME
from nbdsvc.volumes.upload_to_glance import UPLOAD_TO_GLANCE
from nbdsvc.volumes.verify import VERIFY_VOLUME

OPERATION_TYPES = (
    ACCEPT_TRANSFER,
    CREATE_VOLUME,
    DELETE_VOLUME,
    EXTEND_VOLUME,
    FINISH_MOVE,
    IMPORT_IMAGE,
    MANAGE_VOLUME,
    PROMOTE_REPLICA,
    REENABLE_REPLICATION,
    MIGRATE_IN_CLUSTER,
    MIGRATE_IN_USE,
    MIGRATE_IN_USE_BETWEEN_HOSTS,
    *MIGRATE,
    *RETYPE,
    REIMAGE_VOLUME,
    REVERT_VOLUME,
    UNMANAGE_VOLUME,
    UPLOAD_VOLUME,
    UPLOAD_TO_GLANCE,
    VERIFY_VOLUME,
    CREATE_SNAPSHOT,
    DELETE_SNAPSHOT,
    MANAGE_SNAPSHOT,
    UNMANAGE_SNAPSHOT,
    CREATE_GROUP,
    CREATE_GROUP_FROM_SOURCE,
    UPDATE_GROUP,
    DELETE_GROUP,
    REPLICATE_GROUP,
    CREATE_GROUP_SNAPSHOT,
    DELETE_GROUP_SNAPSHOT,
    CREATE_BACKUP,
    RESTORE_BACKUP,
    DELETE_BACKUP,
    IMPORT_BACKUP,
    VERIFY_BACKUP,
    COLLECT_BACKUPS,
    CONNECT_ATTACHMENT,
    DELETE_ATTACHMENT,
    TERMINATE_CONNECTION,
    DETACH_ALL,
    REPAIR_EXPORT,
    LIST_MANAGEABLE,
    FREEZE_BACKEND,
    FAILOVER_BACKEND,
    THAW_BACKEND,
    SET_LOG,
    GET_LOG,
    LIMIT_EXPORTS,
    EXPLAIN_HOST,
)
TYPES_BY_NAME = {each.name: each for each in OPERATION_TYPES}
EPHEMERAL = tuple(each.name for each in OPERATION_TYPES if each.ephemeral)
