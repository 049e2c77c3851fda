"""For every operation on groups of the API: a request that succeeds, and what its reply has."""

from typing import Any

from shapes import (
    CGSNAPSHOT,
    CONSISTENCY_GROUP,
    GROUP,
    GROUP_SNAPSHOT,
    GROUP_SNAPSHOT_SHORT,
    GROUP_TYPE,
    LINK,
    NAMED,
    keys,
)  # fmt: skip
from world import Operation, World, act, get, send

_TYPES, _GROUPS, _SNAPSHOTS, _REPLICATION = ((3, minor) for minor in (11, 13, 14, 38))
_OF_TYPES: dict[str, Any] = {"since": _TYPES, "admin": True}
_REFUSED = {"badRequest": keys("code message")}
_ONE, _SPECS = "group_types/{id}", "group_types/{id}/group_specs"
_SPEC = f"{_SPECS}/{{key}}"


def _named_type(world: World) -> str:
    """By its name, which is no id: the request of another project is the same then."""
    return str(world.good("GET", f"/v3/group_types/{world.new_group_type()}")["group_type"]["name"])


TYPES = [
    get("group_types", {"group_types": [GROUP_TYPE], "group_type_links": [LINK]}, "group_types?limit=1", since=_TYPES),
    send("POST", "group_types", 202, {"group_type": GROUP_TYPE},
         lambda w: ("group_types", {"group_type": {"name": w.unique("new")}}), **_OF_TYPES),
    Operation("GET /v3/group_types/default", 404, {"itemNotFound": keys("code message")},
              lambda _w: ("GET", "/v3/group_types/default", None), since=_TYPES),
    get(_ONE, {"group_type": GROUP_TYPE}, lambda w: f"group_types/{w.new_group_type()}", since=_TYPES),
    send("PUT", _ONE, 200, {"group_type": GROUP_TYPE},
         lambda w: (f"group_types/{w.new_group_type()}", {"group_type": {"description": "d"}}), **_OF_TYPES),
    send("DELETE", _ONE, 202, None, lambda w: (f"group_types/{w.new_group_type()}", None), **_OF_TYPES),
    get(_SPECS, keys("group_specs"), lambda w: f"group_types/{w.new_group_type()}/group_specs", **_OF_TYPES),
    send("POST", _SPECS, 202, {"group_specs": keys("a")},
         lambda w: (f"group_types/{w.new_group_type()}/group_specs", {"group_specs": {"a": "b"}}), **_OF_TYPES),
    get(_SPEC, {"k:l": None}, lambda w: f"group_types/{w.new_group_type()}/group_specs/k:l", **_OF_TYPES),
    send("PUT", _SPEC, 200, keys("k"), lambda w: (f"group_types/{w.new_group_type()}/group_specs/k", {"k": "w"}),
         **_OF_TYPES),
    send("DELETE", _SPEC, 202, None, lambda w: (f"group_types/{w.new_group_type()}/group_specs/k:l", None), **_OF_TYPES),
    get(f"{_ONE}/nbdsvc-access", {"group_type_access": [keys("group_type_id project_id")]},
        lambda w: f"group_types/{w.private_group_type('p1')}/nbdsvc-access", **_OF_TYPES),
    act("group_types", "nbdsvc-addProjectAccess", lambda w: w.private_group_type(), {"project": "p1"}, **_OF_TYPES),
    act("group_types", "nbdsvc-removeProjectAccess", lambda w: w.private_group_type("p1"), {"project": "p1"}, **_OF_TYPES),
]  # fmt: skip


def _leaving(world: World, path: str, noun: str) -> tuple[str, Any]:
    """A volume leaves its group."""
    id = world.new_group() if noun == "group" else world.new_consistency_group()
    volume = world.new_volume(**{"group_id" if noun == "group" else "consistencygroup_id": id})
    return path.format(id=id), {noun: {"remove_volumes": volume}}


def _replication(action: str) -> Operation:
    """The simulator of these tests does not replicate groups, and no type of theirs demands it."""
    return act("groups", action, lambda w: w.new_group(), {}, 400, _REFUSED, since=_REPLICATION)


GROUPS_ONLY = [
    send("POST", "groups", 202, {"group": NAMED},
         lambda w: ("groups", {"group": {"group_type": _named_type(w), "volume_types": ["__DEFAULT__"]}}), since=_GROUPS),
    get("groups", {"groups": [NAMED], "group_links": [LINK]}, lambda w: f"groups?limit=1&id={w.new_group()}",
        since=_GROUPS),
    get("groups/detail", {"groups": [GROUP], "group_links": [LINK]}, lambda w: f"groups/detail?limit=1&id={w.new_group()}",
        since=_GROUPS),
    get("groups/{id}", {"group": GROUP | {"volumes@3.25": None}}, lambda w: f"groups/{w.new_group()}?list_volume=true",
        since=_GROUPS),
    send("PUT", "groups/{id}", 202, None, lambda w: _leaving(w, "groups/{id}", "group"), since=_GROUPS),
    act("groups", "delete", lambda w: w.new_group(1), {"delete-volumes": True}, since=_GROUPS),
    act("groups", "reset_status", lambda w: w.new_group(), {"status": "error"}, since=(3, 20), admin=True),
    *(_replication(f"{verb}_replication") for verb in ("enable", "disable", "failover")),
    _replication("list_replication_targets"),
    send("POST", "groups/action create-from-src", 202, {"group": NAMED},
         lambda w: ("groups/action", {"create-from-src": {"source_group_id": w.new_group(1)}}), since=_SNAPSHOTS),
]  # fmt: skip

GROUP_SNAPSHOTS = [
    send("POST", "group_snapshots", 202, {"group_snapshot": GROUP_SNAPSHOT_SHORT},
         lambda w: ("group_snapshots", {"group_snapshot": {"group_id": w.new_group(1)}}), since=_SNAPSHOTS),
    get("group_snapshots", {"group_snapshots": [GROUP_SNAPSHOT_SHORT], "group_snapshot_links": [LINK]},
        lambda w: f"group_snapshots?limit=1&id={w.new_group_snapshot()}", since=_SNAPSHOTS),
    get("group_snapshots/detail", {"group_snapshots": [GROUP_SNAPSHOT], "group_snapshot_links": [LINK]},
        lambda w: f"group_snapshots/detail?limit=1&id={w.new_group_snapshot()}", since=_SNAPSHOTS),
    get("group_snapshots/{id}", {"group_snapshot": GROUP_SNAPSHOT}, lambda w: f"group_snapshots/{w.new_group_snapshot()}",
        since=_SNAPSHOTS),
    send("DELETE", "group_snapshots/{id}", 202, None, lambda w: (f"group_snapshots/{w.new_group_snapshot()}", None),
         since=_SNAPSHOTS),
    act("group_snapshots", "reset_status", lambda w: w.new_group_snapshot(), {"status": "error"}, since=(3, 19), admin=True),
]  # fmt: skip

_CG, _CGS = "consistencygroup", "consistencygroups"
OLDER = [
    get(_CGS, {_CGS: [NAMED], "consistencygroup_links": [LINK]}, lambda w: f"{_CGS}?limit=1&id={w.new_consistency_group()}"),
    send("POST", _CGS, 202, {_CG: NAMED}, lambda _w: (_CGS, {_CG: {"volume_types": "__DEFAULT__", "status": "creating"}})),
    send("POST", f"{_CGS}/create_from_src", 202, {_CG: NAMED},
         lambda w: (f"{_CGS}/create_from_src", {f"{_CG}-from-src": {"source_cgid": w.new_consistency_group(1)}})),
    get(f"{_CGS}/detail", {_CGS: [CONSISTENCY_GROUP], "consistencygroup_links": [LINK]},
        lambda w: f"{_CGS}/detail?limit=1&id={w.new_consistency_group()}"),
    get(f"{_CGS}/{{id}}", {_CG: CONSISTENCY_GROUP}, lambda w: f"{_CGS}/{w.new_consistency_group()}"),
    send("POST", f"{_CGS}/{{id}}/delete", 202, None,
         lambda w: (f"{_CGS}/{w.new_consistency_group(1)}/delete", {_CG: {"force": True}})),
    send("PUT", f"{_CGS}/{{id}}/update", 202, None, lambda w: _leaving(w, f"{_CGS}/{{id}}/update", _CG)),
    get("cgsnapshots", {"cgsnapshots": [NAMED], "cgsnapshot_links": [LINK]},
        lambda w: f"cgsnapshots?limit=1&id={w.new_cgsnapshot()}"),
    send("POST", "cgsnapshots", 202, {"cgsnapshot": NAMED},
         lambda w: ("cgsnapshots", {"cgsnapshot": {"consistencygroup_id": w.new_consistency_group(1)}})),
    get("cgsnapshots/detail", {"cgsnapshots": [CGSNAPSHOT], "cgsnapshot_links": [LINK]},
        lambda w: f"cgsnapshots/detail?limit=1&id={w.new_cgsnapshot()}"),
    get("cgsnapshots/{id}", {"cgsnapshot": CGSNAPSHOT}, lambda w: f"cgsnapshots/{w.new_cgsnapshot()}"),
    send("DELETE", "cgsnapshots/{id}", 202, None, lambda w: (f"cgsnapshots/{w.new_cgsnapshot()}", None)),
]  # fmt: skip

GROUPS = [*TYPES, *GROUPS_ONLY, *GROUP_SNAPSHOTS, *OLDER]
