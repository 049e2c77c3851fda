"""For every operation of the API: a request that succeeds, and what its reply has."""

from typing import Any

from operations_of_backups import BACKUPS
from operations_of_groups import GROUPS
from operations_of_images import IMAGES
from shapes import (
    ABSOLUTE,
    ATTACHMENT,
    ATTACHMENT_SHORT,
    CAPABILITIES,
    DOCUMENT,
    ENCRYPTION,
    EXTENSION,
    HOST,
    HOST_USE,
    LINK,
    MANAGEABLE,
    MANAGEABLE_FULL,
    MESSAGE,
    OPERATION,
    QOS,
    QUOTAS,
    SERVICE,
    SERVICE_CHANGED,
    SERVICE_DISABLED,
    SNAPSHOT,
    SNAPSHOT_FULL,
    SNAPSHOT_SHORT,
    TRANSFER,
    TRANSFER_SHORT,
    TYPE,
    TYPE_CREATED,
    TYPE_DEFAULT,
    TYPE_FULL,
    UPLOADED,
    USE,
    VOLUME,
    VOLUME_FULL,
    VOLUME_OLD,
    VOLUME_SHORT,
    keys,
)  # fmt: skip
from world import SPARE, UUID, Operation, World, act, get, send

HOST_NAME = "me@file"
CONNECTOR = {"host": "me", "ip": "127.0.0.1"}


def _metadata(noun: str, made: Any) -> list[Operation]:
    path, item = f"{noun}/{{id}}/metadata", f"{noun}/{{id}}/metadata/{{key}}"
    body, meta = {"metadata": {"a": "b"}}, {"meta": {"k": "v"}}
    return [
        get(path, keys("metadata"), lambda w: f"{noun}/{made(w)}/metadata"),
        send("POST", path, 200, keys("metadata"), lambda w: (f"{noun}/{made(w)}/metadata", body)),
        send("PUT", path, 200, keys("metadata"), lambda w: (f"{noun}/{made(w)}/metadata", {"metadata": {"k": "v"}})),
        get(item, {"meta": keys("k")}, lambda w: f"{noun}/{made(w)}/metadata/k"),
        send("PUT", item, 200, {"meta": keys("k")}, lambda w: (f"{noun}/{made(w)}/metadata/k", meta)),
        send("DELETE", item, 200, None, lambda w: (f"{noun}/{w.new_volume()}/metadata/k", None))
        if noun == "volumes"
        else send("DELETE", item, 200, None,
                   lambda w: (f"{noun}/{w.new_snapshot(w.new_volume())}/metadata/k", None)),
    ]  # fmt: skip


def _volume(world: World) -> str:
    return world.new_volume()


VOLUMES = [
    send("POST", "volumes", 202, {"volume": VOLUME}, lambda w: ("volumes", {"volume": {"size": 1}})),
    get("volumes", {"volumes": [VOLUME_SHORT], "volumes_links": [LINK]}, "volumes?limit=1"),
    get(
        "volumes/detail", {"volumes": [VOLUME_FULL], "volumes_links": [LINK]}, "volumes/detail?limit=1&name=attached"
    ),
    get(
        "volumes/summary", {"volume-summary": keys("total_size total_count metadata@3.36")}, "volumes/summary",
        since=(3, 12),
    ),
    get("volumes/{id}", {"volume": VOLUME_FULL}, lambda w: f"volumes/{w.attached}"),
    send("PUT", "volumes/{id}", 200, {"volume": VOLUME}, lambda w: (f"volumes/{_volume(w)}", {"volume": {"name": "n"}})),
    send("DELETE", "volumes/{id}", 202, None, lambda w: (f"volumes/{_volume(w)}", None)),
    *_metadata("volumes", _volume),
]  # fmt: skip

VOLUME_ACTIONS = [
    act("volumes", "nbdsvc-verify", _volume, {"record": True}),
    act("volumes", "os-extend", _volume, {"new_size": 2}),
    act("volumes", "revert", lambda w: w.volume_with_snapshot(), lambda w, id: {"snapshot_id": w.newest}, since=(3, 40)),
    act("volumes", "os-reimage", _volume, lambda w, id: {"image_id": w.an_image()}, since=(3, 68)),
    act("volumes", "os-extend_volume_completion", _volume, {"error": False}, 400, {"badRequest": keys("code message")},
         admin=True, since=(3, 71)),  # no hypervisor extends it
    act("volumes", "os-reset_status", _volume, {"status": "error"}, admin=True),
    act("volumes", "os-reserve", _volume),
    act("volumes", "os-unreserve", _volume),
    act("volumes", "os-begin_detaching", lambda w: w.attached_volume()),
    act("volumes", "os-roll_detaching", lambda w: w.detaching_volume()),
    act("volumes", "os-attach", _volume, {"instance_uuid": UUID, "mountpoint": "/dev/vdb"}),
    act("volumes", "os-detach", lambda w: w.attached_volume(), {}),
    act("volumes", "os-force_detach", lambda w: w.attached_volume(), {"connector": None}, admin=True),
    act("volumes", "os-initialize_connection", _volume, {"connector": CONNECTOR}, 200,
         {"connection_info": keys("driver_volume_type data")}),
    act("volumes", "os-terminate_connection", _volume, {"connector": CONNECTOR}),
    act("volumes", "os-volume_upload_image", _volume, lambda w, id: {"image_name": id}, 202,
         {"os-volume_upload_image": UPLOADED}),
    act("volumes", "os-force_delete", _volume, admin=True),
    act("volumes", "os-migrate_volume", _volume, lambda w, id: {"host": SPARE}, admin=True),
    act("volumes", "os-migrate_volume_completion", _volume, lambda w, id: {"new_volume": w.new_volume()}, 202,
         keys("save_volume_id"), admin=True),
    act("volumes", "os-retype", _volume, lambda w, id: {"new_type": w.new_type(extra_specs={})}),
    act("volumes", "os-unmanage", _volume, admin=True),
    *(act("volumes", action, _volume, None, 400, {"badRequest": keys("code message")}, admin=True)
      for action in ("os-promote-replica", "os-reenable-replication")),  # no replica
    act("volumes", "os-set_bootable", _volume, {"bootable": True}, 200),
    act("volumes", "os-update_readonly_flag", _volume, {"readonly": True}),
    act("volumes", "os-set_image_metadata", _volume, {"metadata": {"a": "b"}}, 200, {"metadata": keys("a")}),
    act("volumes", "os-unset_image_metadata", _volume, {"key": "a"}, 200),
    act("volumes", "os-show_image_metadata", lambda w: w.attached, None, 200, {"metadata": keys("os")}),
]  # fmt: skip


def _snapshot(world: World) -> str:
    return world.new_snapshot(world.new_volume())


SNAPSHOTS = [
    send("POST", "snapshots", 202, {"snapshot": SNAPSHOT},
          lambda w: ("snapshots", {"snapshot": {"volume_id": w.new_volume()}})),
    get("snapshots", {"snapshots": [SNAPSHOT_SHORT], "snapshots_links": [LINK]}, "snapshots?limit=1"),
    get("snapshots/detail", {"snapshots": [SNAPSHOT_FULL], "snapshots_links": [LINK]}, "snapshots/detail?limit=1"),
    get("snapshots/{id}", {"snapshot": SNAPSHOT_FULL}, lambda w: f"snapshots/{w.snapshot}"),
    send("PUT", "snapshots/{id}", 200, {"snapshot": SNAPSHOT},
          lambda w: (f"snapshots/{w.snapshot}", {"snapshot": {"name": "n"}})),
    send("DELETE", "snapshots/{id}", 202, None, lambda w: (f"snapshots/{_snapshot(w)}", None)),
    *_metadata("snapshots", lambda w: w.snapshot),
    act("snapshots", "os-reset_status", _snapshot, {"status": "error"}, admin=True),
    act("snapshots", "os-update_snapshot_status", lambda w: w.creating_snapshot(), {"status": "error", "progress": "5%"}),
    act("snapshots", "os-force_delete", _snapshot, admin=True),
    act("snapshots", "os-unmanage", _snapshot, admin=True),
]  # fmt: skip

_ATTACHMENTS = (3, 27)
ATTACHMENTS = [
    send("POST", "attachments", 200, {"attachment": ATTACHMENT},
          lambda w: ("attachments", {"attachment": {"volume_uuid": w.new_volume()}}), since=_ATTACHMENTS),
    get("attachments", {"attachments": [ATTACHMENT_SHORT]}, "attachments?limit=1",
         since=_ATTACHMENTS),
    get("attachments/detail", {"attachments": [ATTACHMENT]},
         "attachments/detail?limit=1", since=_ATTACHMENTS),
    get("attachments/{id}", {"attachment": ATTACHMENT}, lambda w: f"attachments/{w.reserved}", since=_ATTACHMENTS),
    send("PUT", "attachments/{id}", 200, {"attachment": ATTACHMENT},
          lambda w: (f"attachments/{w.new_attachment()}", {"attachment": {"connector": CONNECTOR}}), since=_ATTACHMENTS),
    send("DELETE", "attachments/{id}", 200, {"attachments": [ATTACHMENT_SHORT]},
          lambda w: (f"attachments/{w.shared_attachment()}", None), since=_ATTACHMENTS),
    act("attachments", "os-complete", lambda w: w.new_attachment(connector=CONNECTOR), lambda w, id: id, 204,
         since=(3, 44)),
]  # fmt: skip

_ENCRYPTION = "types/{id}/encryption"
_SPECS, _SPEC = "types/{id}/extra_specs", "types/{id}/extra_specs/{key}"
TYPES = [
    get("types", {"volume_types": [TYPE_FULL], "volume_type_links": [LINK]}, "types?limit=1"),
    send("POST", "types", 200, {"volume_type": TYPE_CREATED},
          lambda w: ("types", {"volume_type": {"name": w.unique("new")}}), admin=True),
    get("types/default", {"volume_type": TYPE_DEFAULT}, "types/default"),
    get("types/{id}", {"volume_type": TYPE_FULL}, lambda w: f"types/{w.new_type()}"),
    send("PUT", "types/{id}", 200, {"volume_type": TYPE},
          lambda w: (f"types/{w.new_type()}", {"volume_type": {"description": "d"}}), admin=True),
    send("DELETE", "types/{id}", 202, None, lambda w: (f"types/{w.new_type()}", None), admin=True),
    get(_SPECS, keys("extra_specs"), lambda w: f"types/{w.new_type()}/extra_specs"),
    send("POST", _SPECS, 200, {"extra_specs": keys("a")},
          lambda w: (f"types/{w.new_type()}/extra_specs", {"extra_specs": {"a": "b"}}), admin=True),
    get(_SPEC, keys("multiattach"),
         lambda w: f"types/{w.new_type(extra_specs={'multiattach': '<is> True'})}/extra_specs/multiattach"),
    send("PUT", _SPEC, 200, keys("k"), lambda w: (f"types/{w.new_type()}/extra_specs/k", {"k": "w"}), admin=True),
    send("DELETE", _SPEC, 202, None, lambda w: (f"types/{w.new_type()}/extra_specs/k", None), admin=True),
    get(_ENCRYPTION, ENCRYPTION | keys("deleted deleted_at created_at updated_at"),
        lambda w: f"types/{w.encrypted_type()}/encryption", admin=True),
    get(f"{_ENCRYPTION}/{{key}}", keys("provider"), lambda w: f"types/{w.encrypted_type()}/encryption/provider", admin=True),
    send("POST", _ENCRYPTION, 200, {"encryption": ENCRYPTION},
         lambda w: (f"types/{w.new_type()}/encryption", {"encryption": {"provider": "luks"}}), admin=True),
    send("PUT", f"{_ENCRYPTION}/{{encryption_id}}", 200, {"encryption": keys("cipher")},
         lambda w: (f"types/{w.encrypted_type()}/encryption/provider", {"encryption": {"cipher": "c"}}), admin=True),
    send("DELETE", f"{_ENCRYPTION}/{{encryption_id}}", 202, None,
         lambda w: (f"types/{w.encrypted_type()}/encryption/provider", None), admin=True),
    get("volumes/{id}/encryption", keys("encryption_key_id"), lambda w: f"volumes/{w.attached}/encryption"),
    get("volumes/{id}/encryption/{key}", keys("encryption_key_id"),
        lambda w: f"volumes/{w.attached}/encryption/encryption_key_id"),
    get("types/{id}/os-volume-type-access", {"volume_type_access": [keys("volume_type_id project_id")]},
         lambda w: f"types/{w.private_type('p1')}/os-volume-type-access", admin=True),
    act("types", "addProjectAccess", lambda w: w.private_type(), {"project": "p1"}, admin=True),
    act("types", "removeProjectAccess", lambda w: w.private_type("p1"), {"project": "p1"}, admin=True),
]  # fmt: skip

_DEFAULT, _DEFAULTS = keys("project_id volume_type_id"), (3, 62)
DEFAULT_TYPES = [
    get("default-types", {"default_types": [_DEFAULT]}, lambda w: f"default-types?{w.default_of('p5')}", admin=True,
         since=_DEFAULTS),
    get("default-types/{project}", {"default_type": _DEFAULT}, lambda w: f"default-types/{w.default_of('p5')}", admin=True,
         since=_DEFAULTS),
    send("PUT", "default-types/{project}", 200, {"default_type": _DEFAULT},
          lambda w: ("default-types/p6", {"default_type": {"volume_type": w.new_type()}}), admin=True, since=_DEFAULTS),
    send("DELETE", "default-types/{project}", 204, None, lambda w: (f"default-types/{w.default_of('p7')}", None),
          admin=True, since=_DEFAULTS),
]  # fmt: skip

_SERVICE = {"host": HOST_NAME, "binary": "cinder-volume"}
_QUOTA = "os-quota-sets/{project}"
_EVACUEE = keys("id name project_id size state destination operation obstacle reason advice")
_CLUSTER = keys("name binary state status")
_CLUSTER_MORE = keys("num_hosts num_down_hosts last_heartbeat created_at updated_at disabled_reason "
                     "replication_status@3.26 frozen@3.26 active_backend_id@3.26")  # fmt: skip
_FINDING = keys("key kind severity resource_type resource_id message remedy fix host since related")
SERVICE_ITSELF = [
    get("limits", {"limits": keys("rate", absolute=ABSOLUTE)}, "limits?project_id=p1"),
    get(f"{_QUOTA}/defaults", {"quota_set": keys(f"id {QUOTAS}")}, "os-quota-sets/p1/defaults"),
    get(_QUOTA, {"quota_set": keys("id") | dict.fromkeys(QUOTAS.split(), USE)}, "os-quota-sets/p1?usage=true"),
    send("PUT", _QUOTA, 200, {"quota_set": keys(QUOTAS)},
          lambda w: ("os-quota-sets/p2", {"quota_set": {"volumes": 5}}), admin=True),
    send("DELETE", _QUOTA, 200, None, lambda w: ("os-quota-sets/p2", None), admin=True),
    get("os-quota-class-sets/{name}", {"quota_class_set": keys(f"id {QUOTAS}")}, "os-quota-class-sets/default", admin=True),
    send("PUT", "os-quota-class-sets/{name}", 200, {"quota_class_set": keys(QUOTAS)},
         lambda w: ("os-quota-class-sets/other", {"quota_class_set": {"volumes": 5}}), admin=True),
    get("os-services", {"services": [SERVICE]}, "os-services", admin=True),
    send("PUT", "os-services/disable", 200, SERVICE_DISABLED, lambda w: ("os-services/disable", _SERVICE), admin=True),
    send("PUT", "os-services/disable-log-reason", 200, SERVICE_CHANGED,
          lambda w: ("os-services/disable-log-reason", {**_SERVICE, "disabled_reason": "r"}), admin=True),
    send("PUT", "os-services/enable", 200, SERVICE_CHANGED, lambda w: ("os-services/enable", _SERVICE), admin=True),
    send("PUT", "os-services/freeze", 200, None, lambda w: ("os-services/freeze", w.thawed()), admin=True),
    send("PUT", "os-services/thaw", 200, None, lambda w: ("os-services/thaw", w.frozen()), admin=True),
    send("PUT", "os-services/set-log", 202, None, lambda w: ("os-services/set-log", {"level": "INFO", "prefix": "x"}),
         admin=True, since=(3, 32)),
    send("PUT", "os-services/get-log", 200, {"log_levels": [keys("binary host levels")]},
         lambda w: ("os-services/get-log", {"prefix": "x"}), admin=True, since=(3, 32)),
    send("PUT", "os-services/evacuate", 200, {"evacuation": keys("next_marker", volumes=[_EVACUEE])},
         lambda w: ("os-services/evacuate", {"host": w.thawed()["host"]}), admin=True),
    Operation("PUT /v3/os-services/lost", 400, {"badRequest": keys("code message")},
              lambda _w: ("PUT", "/v3/os-services/lost", {"host": HOST_NAME}), admin=True),
    Operation("PUT /v3/os-services/take-over", 400, {"badRequest": keys("code message")},
              lambda _w: ("PUT", "/v3/os-services/take-over", {"host": HOST_NAME.partition("@")[0]}), admin=True),
    Operation("PUT /v3/os-services/return", 404, {"itemNotFound": keys("code message")},
              lambda _w: ("PUT", "/v3/os-services/return", {"host": "elsewhere"}), admin=True),
    Operation("PUT /v3/os-services/failover", 400, {"badRequest": keys("code message")},
              lambda _w: ("PUT", "/v3/os-services/failover", {"host": HOST_NAME}), admin=True, since=(3, 26)),
    Operation("PUT /v3/os-services/failover_host", 400, {"badRequest": keys("code message")},
              lambda _w: ("PUT", "/v3/os-services/failover_host", {"host": HOST_NAME}), admin=True),
    get("clusters", {"clusters": [_CLUSTER]}, "clusters", admin=True, since=(3, 7)),
    get("clusters/detail", {"clusters": [_CLUSTER | _CLUSTER_MORE]}, "clusters/detail", admin=True, since=(3, 7)),
    get("clusters/{cluster_name}", {"cluster": _CLUSTER | _CLUSTER_MORE}, lambda w: f"clusters/{w.cluster()}", admin=True,
        since=(3, 7)),
    send("PUT", "clusters/disable", 200, {"cluster": _CLUSTER | keys("disabled_reason")},
         lambda w: ("clusters/disable", {"name": w.cluster(), "disabled_reason": "r"}), admin=True, since=(3, 7)),
    send("PUT", "clusters/enable", 200, {"cluster": _CLUSTER | keys("disabled_reason")},
         lambda w: ("clusters/enable", {"name": w.cluster()}), admin=True, since=(3, 7)),
    get("os-hosts", {"hosts": [HOST]}, "os-hosts", admin=True),
    get("os-hosts/{host}", {"host": [{"resource": HOST_USE}]}, f"os-hosts/{HOST_NAME}", admin=True),
    send("PUT", "os-hosts/{host}", 200, keys("host status"), lambda w: (f"os-hosts/{HOST_NAME}", {"status": "enable"}),
         admin=True),
    send("POST", "workers/cleanup", 202, {"cleaning": [keys("id host binary cluster_name")], "unavailable": None},
         lambda w: ("workers/cleanup", {"binary": "cinder-volume"}), admin=True, since=(3, 24)),
    get("scheduler-stats/get_pools", {"pools": [keys("name capabilities")]}, "scheduler-stats/get_pools?detail=true",
         admin=True),
    get("scheduler-stats/placement", {"placement": {"pools": [keys("name passes weight free_capacity_gb total_capacity_gb filter reason")]}},
         "scheduler-stats/placement?size=1", admin=True),
    get("explain", {"findings": [_FINDING]}, lambda w: f"explain?subject={w.failed_volume()}", admin=True),
    send("POST", "explain", 200, {"mended": [keys("key fix error operation")]},
          lambda w: ("explain", {"mend": {"keys": ["volume.stuck x"]}}), admin=True),
    get("capabilities/{host}", CAPABILITIES, f"capabilities/{HOST_NAME}", admin=True),
    get("os-availability-zone", {"availabilityZoneInfo": [{"zoneName": None, "zoneState": keys("available")}]},
         "os-availability-zone"),
    get("extensions", {"extensions": [EXTENSION]}, "extensions"),
    get("resource_filters", {"resource_filters": [keys("resource filters")]}, "resource_filters", since=(3, 33)),
    Operation("GET /", 300, {"versions": [DOCUMENT]}, lambda _w: ("GET", "/", None)),
    Operation("GET /v3/", 200, {"versions": [DOCUMENT]}, lambda _w: ("GET", "/v3/", None)),
    Operation("GET /healthcheck", 200, "text", lambda _w: ("GET", "/healthcheck", None)),
    Operation("GET /metrics", 200, "text", lambda _w: ("GET", "/metrics", None)),
]  # fmt: skip

_MESSAGES = (3, 3)
JOURNAL = [
    get("operations", {"operations": [OPERATION], "operations_links": [LINK]}, "operations?limit=1"),
    get("operations/{id}", {"operation": OPERATION}, lambda w: f"operations/{w.failed}"),
    act("operations", "cancel", lambda w: w.running_operation()),
    act("operations", "limit", lambda w: w.running_operation(), {"rate": 0}),
    get("messages", {"messages": [MESSAGE], "messages_links@3.5": [LINK]}, "messages?limit=1", since=_MESSAGES),
    get("messages/{id}", {"message": MESSAGE}, lambda w: f"messages/{w.failed}", since=_MESSAGES),
    send("DELETE", "messages/{id}", 204, None, lambda w: (f"messages/{w.new_message()}", None), since=_MESSAGES),
]


def _manage(path: str, since: Any) -> list[Operation]:
    pool, more = f"{HOST_NAME}#file", {"admin": True, "since": since}
    noun = "volume" if "volume" in path else "snapshot"
    found, source = f"manageable-{noun}s", keys("source_reference") if noun == "snapshot" else {}

    def body(world: World) -> tuple[str, Any]:
        if noun == "volume":
            return path, {"volume": {"host": pool, "ref": {"source-name": world.foreign()}}}
        return path, {"snapshot": {"volume_id": world.new_volume(), "ref": {"source-name": world.foreign("snapshots")}}}

    def listing(suffix: str) -> Any:
        def where(world: World) -> str:
            world.foreign(f"{noun}s")
            return f"{path}{suffix}?host={pool.replace('#', '%23')}"

        return where

    return [
        send("POST", path, 202, {noun: VOLUME_OLD if noun == "volume" else SNAPSHOT_SHORT}, body, **more),
        get(path, {found: [MANAGEABLE | source]}, listing(""), **more),
        get(f"{path}/detail", {found: [MANAGEABLE_FULL | source]}, listing("/detail"), **more),
    ]


MANAGING = [
    *_manage("manageable_volumes", (3, 8)), *_manage("manageable_snapshots", (3, 8)),
    *_manage("os-volume-manage", (3, 0)), *_manage("os-snapshot-manage", (3, 0)),
]  # fmt: skip


def _transfers(noun: str) -> list[Operation]:
    made, links = {"transfer": TRANSFER}, {"transfers_links@3.59": [LINK]} if noun == "volume-transfers" else {}

    def acceptance(world: World) -> tuple[str, Any]:
        id, key = world.new_transfer()
        return f"{noun}/{id}/accept", {"accept": {"auth_key": key}}

    return [
        send("POST", noun, 202, {"transfer": TRANSFER | keys("auth_key")},
             lambda w: (noun, {"transfer": {"volume_id": w.new_volume()}})),
        get(noun, {"transfers": [TRANSFER_SHORT], **links}, lambda w: f"{noun}?limit=1&id={w.new_transfer()[0]}"),
        get(f"{noun}/detail", {"transfers": [TRANSFER], **links},
            lambda w: f"{noun}/detail?limit=1&id={w.new_transfer()[0]}"),
        get(f"{noun}/{{id}}", made, lambda w: f"{noun}/{w.new_transfer()[0]}"),
        send("DELETE", f"{noun}/{{id}}", 202, None, lambda w: (f"{noun}/{w.new_transfer()[0]}", None)),
        send("POST", f"{noun}/{{id}}/accept", 202, {"transfer": TRANSFER_SHORT}, acceptance),
    ]  # fmt: skip


TRANSFERS = [*_transfers("volume-transfers"), *_transfers("os-volume-transfer")]


def _associated(world: World, what: str) -> str:
    """The path of an association of new QoS specs with a new type, which have each other already."""
    specs, kind = world.new_qos_specs(), world.new_type()
    world.good("GET", f"/v3/qos-specs/{specs}/associate?vol_type_id={kind}")
    return f"qos-specs/{specs}/{what}?vol_type_id={kind}"


_QOS = "qos-specs/{id}"
_LINKED = {"qos_specs": QOS, "links": [LINK]}
_KEYS = {"qos_specs": {"read_iops_sec": "5"}}


def _association(what: str) -> Operation:
    return send("GET", f"{_QOS}/{what}", 202, None, lambda w: (_associated(w, what), None), admin=True)


QOS_SPECS = [
    get("qos-specs", {"qos_specs": [QOS], "qos_specs_links": [LINK]},
        lambda w: f"qos-specs?limit=1&sort=created_at:desc&with={w.new_qos_specs()}", admin=True),
    send("POST", "qos-specs", 200, _LINKED, lambda w: ("qos-specs", {"qos_specs": {"name": w.unique("q")}}), admin=True),
    get(_QOS, _LINKED, lambda w: f"qos-specs/{w.new_qos_specs()}", admin=True),
    send("PUT", _QOS, 200, {"qos_specs": keys("read_iops_sec")},
         lambda w: (f"qos-specs/{w.new_qos_specs()}", _KEYS), admin=True),
    send("PUT", f"{_QOS}/delete_keys", 202, None,
         lambda w: (f"qos-specs/{w.new_qos_specs()}/delete_keys", {"keys": ["size_iops_sec"]}), admin=True),
    send("DELETE", _QOS, 202, None, lambda w: (f"qos-specs/{w.new_qos_specs()}", None), admin=True),
    get(f"{_QOS}/associations", {"qos_associations": [keys("association_type name id")]},
        lambda w: _associated(w, "associations"), admin=True),
    *(_association(what) for what in ("associate", "disassociate", "disassociate_all")),
]  # fmt: skip

OPERATIONS = [
    *GROUPS,
    *VOLUMES,
    *VOLUME_ACTIONS,
    *SNAPSHOTS,
    *BACKUPS,
    *ATTACHMENTS,
    *TYPES,
    *DEFAULT_TYPES,
    *SERVICE_ITSELF,
    *JOURNAL,
    *IMAGES,
    *MANAGING,
    *TRANSFERS,
    *QOS_SPECS,
]
