"""The filters of lists. Before microversion 3.31 an unknown filter is ignored, from it on refused by name."""

from nbdsvc import errors
from nbdsvc.api import steps
from nbdsvc.api.paging import ALIASES
from nbdsvc.api.request import ApiRequest
from nbdsvc.model.listing import Filter
from nbdsvc.model.values import is_boolean

# The filters of each table: names of columns, or aliases of columns (ALIASES).
FILTERS: dict[str, tuple[str, ...]] = {
    "volumes": ("id", "name", "status", "size", "bootable", "availability_zone", "snapshot_id", "source_volid", "host",
                "multiattach", "migration_status", "replication_status", "volume_type_id", "user_id", "description",
                "project_id", "metadata", "glance_metadata", "group_id", "consistencygroup_id", "created_at",
                "updated_at", "consumes_quota"),
    "snapshots": ("id", "name", "status", "volume_id", "description", "user_id", "project_id", "metadata",
                  "availability_zone", "consumes_quota"),
    "backups": ("id", "name", "status", "volume_id", "snapshot_id", "size", "availability_zone", "parent_id",
                "project_id"),
    "attachments": ("id", "status", "volume_id", "instance_uuid", "instance_id", "attach_status", "attached_host",
                    "project_id"),
    "operations": ("id", "kind", "state", "resource_id", "resource_type", "request_id", "project_id"),
    "messages": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level", "project_id"),
    "transfers": ("id", "name", "volume_id", "project_id"),
    "groups": ("id", "name", "status", "description", "availability_zone", "group_type_id", "project_id"),
    "group_snapshots": ("id", "name", "status", "description", "group_id", "project_id"),
    "pools": ("name", "volume_type"),
}  # fmt: skip
# Filters for administrators: only they see on which host a resource is.
_ADMIN_ONLY = frozenset({"host", "attached_host"})
# Filters that later microversions introduced, by table.
_SINCE = {("volumes", "glance_metadata"): (3, 4), ("volumes", "group_id"): (3, 10), ("snapshots", "metadata"): (3, 22),
          ("volumes", "created_at"): steps.TIME_FILTERS, ("volumes", "updated_at"): steps.TIME_FILTERS,
          ("volumes", "consumes_quota"): steps.CONSUMES_QUOTA, ("snapshots", "consumes_quota"): steps.CONSUMES_QUOTA,
          }  # fmt: skip
_LIKE_SINCE = (3, 34)
_STRICT_SINCE = (3, 31)
_NOT_FILTERS = frozenset(
    {"limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "detail", "list_volume"}
)
# The lists whose rows a reply counts.
_COUNTED = frozenset({"volumes", "snapshots", "backups"})


def parse(request: ApiRequest, table: str) -> list[Filter]:
    """The filters of the query string for the list of `table` that this version knows.

    From microversion 3.34 `name~=part` matches values that contain the part. Raises InvalidInput from 3.31 for a filter
    that is not known.
    """
    found, unknown = [], []
    for key, value in request.query.multi_items():
        partial = key.endswith("~") and request.version >= _LIKE_SINCE
        given = key[:-1] if partial else key
        name = ALIASES.get(given, given)
        if key in _NOT_FILTERS or (key == "with_count" and table in _COUNTED and request.version >= steps.COUNT):
            continue
        if _is_known(request, table, given) or _is_known(request, table, name):
            found.append(Filter(name, _as_then(request, name, value), partial))
        else:
            unknown.append(key)
    if unknown and request.version >= _STRICT_SINCE:
        reason = f"Invalid filters {','.join(unknown)[:200]} are found in query options."
        raise errors.InvalidInput(field="query", value=unknown[0][:80], reason=reason)
    return found


def _as_then(request: ApiRequest, name: str, value: str) -> str:
    """Below 3.2 every text that is no boolean, and not empty, is a true one."""
    is_open = name == "bootable" and request.version < steps.STRICT_BOOTABLE
    return "true" if is_open and not is_boolean(value) else value


def _is_known(request: ApiRequest, table: str, name: str) -> bool:
    if name in _ADMIN_ONLY and not request.context.is_admin:
        return False
    return name in FILTERS[table] and request.version >= _SINCE.get((table, name), (3, 0))
