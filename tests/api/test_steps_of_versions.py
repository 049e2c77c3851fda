"""Every microversion: what it brought is there from it on, and in the version before it is not."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

from nbdsvc.api.steps import STEPS, Step, Version

INSTANCE = "5b1a8b4e-0000-4000-8000-000000000001"
IMAGE, SMALL = "00000000-0000-4000-8000-0000000000b0", "small.raw"
# Steps that change nothing here, since every version has what they brought, or none has a case for it.
UNCHANGED = {0, 30, 37, 50, 64, 67, 69, 70}
NEWEST = (3, 71)
PAGE = Path(__file__).parents[2] / "docs" / "api.md"


class Scene:
    """A service with a few things in it, and requests of a version."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service, self.version = service, NEWEST
        self.kind = self.good(
            "POST", "types", {"volume_type": {"name": "m", "extra_specs": {"multiattach": "<is> True"}}}
        )
        self.some, self.taken = self.volume(), self.volume(name="taken")
        self.snapshot = self.settle("snapshots", self.good("POST", "snapshots", {"snapshot": {"volume_id": self.some}}))
        for _ in range(2):  # a message each
            self.settle("volumes", self.some, lambda: self.act(self.some, "nbdsvc-verify"))
        self.write_images()
        for _ in range(2):
            self.good("POST", "volume-transfers", {"transfer": {"volume_id": self.volume()}})
        self.good("PUT", "os-quota-sets/p9", {"quota_set": {"volumes": 5}})
        self.pool = self.good("GET", "scheduler-stats/get_pools")[0]["name"]
        self.make_groups()
        self.backup = self.settle("backups", self.good("POST", "backups", {"backup": {"volume_id": self.some}}))

    def make_groups(self) -> None:
        """A group with a volume and a group snapshot, and a consistency group without."""
        kind = self.good("POST", "group_types", {"group_type": {"name": "g"}})["id"]
        body = {"name": "g", "group_type": kind, "volume_types": ["__DEFAULT__"]}
        self.group = self.settle("groups", self.good("POST", "groups", {"group": body}))
        self.member = self.volume(group_id=self.group)
        body = {"name": "s", "group_id": self.group}
        self.taken_of_group = self.settle(
            "group_snapshots", self.good("POST", "group_snapshots", {"group_snapshot": body})
        )
        older = {"name": "c", "volume_types": "__DEFAULT__"}
        made = self.good("POST", "consistencygroups", {"consistencygroup": older})
        self.consistency_group = self.settle("consistencygroups", made)

    def write_images(self) -> None:
        folder = self.service.state / "images"
        folder.mkdir(exist_ok=True)
        (folder / SMALL).write_bytes(b"\1" * 65536)
        mapping = [{"source_type": "snapshot", "boot_index": 0, "snapshot_id": self.snapshot}]
        index = {"id": IMAGE, "name": "of a root volume", "properties": {"block_device_mapping": json.dumps(mapping)}}
        (folder / f"{IMAGE}.json").write_text(json.dumps(index))
        (folder / f"{IMAGE}.data").touch()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        version = f"volume {self.version[0]}.{self.version[1]}"
        return ask(self.service, method, f"/v3/{path}", body, OpenStack_API_Version=version)[:2]

    def status(self, method: str, path: str, body: Any = None) -> int:
        return self.ask(method, path, body)[0]

    def good(self, method: str, path: str, body: Any = None) -> Any:
        """The value of the reply's only key, but for links."""
        status, content = self.ask(method, path, body)
        assert status < 300, (method, path, self.version, content)
        return next((value for key, value in (content or {}).items() if not key.endswith("_links")), None)

    def act(self, id: str, action: str, value: Any = None) -> int:
        return self.status("POST", f"volumes/{id}/action", {action: {} if value is None else value})

    def settle(self, noun: str, made: Any, begin: Callable[[], object] = lambda: None) -> str:
        begin()
        id = made if isinstance(made, str) else str(made["id"])
        self.service.wait_status(noun, id)
        return id

    def volume(self, **fields: Any) -> str:
        return self.settle("volumes", self.good("POST", "volumes", {"volume": {"size": 1, **fields}}))

    def attached(self) -> str:
        id = self.volume()
        assert self.act(id, "os-attach", {"instance_uuid": INSTANCE, "mountpoint": "/dev/vdb"}) == 202
        return id

    def shown(self) -> Any:
        return self.good("GET", f"volumes/{self.some}")


def _count(scene: Scene) -> bool:
    lists = [f"{noun}s{detail}" for noun in ("volume", "snapshot", "backup") for detail in ("", "/detail")]
    replies = [scene.ask("GET", f"{path}?limit=1&with_count=true") for path in lists]
    found = {status == 200 and content["count"] >= len(content[path.partition("/")[0]]) for path, (status, content) in
             zip(lists, replies, strict=True)}  # fmt: skip
    assert len(found) == 1
    return found.pop()


def _boot_snapshot(scene: Scene) -> bool:
    made = scene.good("POST", "volumes", {"volume": {"size": 1, "imageRef": IMAGE}})
    return bool(made["snapshot_id"] == scene.snapshot)


def _of_backup(scene: Scene) -> bool:
    status, content = scene.ask("POST", "volumes", {"volume": {"backup_id": scene.backup}})
    if status != 202:
        return False
    assert content["volume"]["status"] == "restoring-backup"
    scene.settle("volumes", content["volume"])
    return True


def _empty_name(scene: Scene) -> bool:
    body = {"consistencygroup": {"name": ""}}
    return scene.status("PUT", f"consistencygroups/{scene.consistency_group}/update", body) == 202


def _in_new_group(scene: Scene) -> bool:
    """What has no group says so."""
    shown, status = scene.shown(), scene.status("GET", f"groups/{scene.group}")
    assert ("group_id" in shown) is (status == 200)
    return status == 200


def _of_group_snapshot(scene: Scene) -> bool:
    status = scene.status("GET", f"group_snapshots/{scene.taken_of_group}")
    snapshots = scene.good("GET", f"snapshots/detail?volume_id={scene.member}")
    assert (snapshots[0].get("group_snapshot_id") == scene.taken_of_group) is (status == 200)
    return status == 200


def _reset(noun: str, made: Callable[[Scene], str]) -> Callable[[Scene], bool]:
    body = {"reset_status": {"status": "available"}}
    return lambda scene: scene.status("POST", f"{noun}/{made(scene)}/action", body) == 202


def _filtered_snapshots(scene: Scene) -> bool:
    path = "group_snapshots?name=nowhere"
    return scene.status("GET", "group_snapshots?nonsense=1") == (
        400 if scene.version >= (3, 31) else 200
    ) and not scene.good("GET", path)


def _of_project(scene: Scene) -> bool:
    paths = (
        f"groups/{scene.group}",
        "groups/detail",
        f"group_snapshots/{scene.taken_of_group}",
        "group_snapshots/detail",
    )
    found = {shows(path, "project_id")(scene) for path in paths}
    assert len(found) == 1
    return found.pop()


def _backup_metadata(scene: Scene) -> bool:
    """Shown, and taken by an update."""
    body = {"backup": {"name": "b", "metadata": {"a": "b"}}}
    taken = scene.status("PUT", f"backups/{scene.backup}", body) == 200
    assert shows(f"backups/{scene.backup}", "metadata")(scene) is taken
    return taken


def _backup_zone(scene: Scene) -> bool:
    body: dict[str, Any] = {"backup": {"volume_id": scene.volume(), "availability_zone": "nova"}}
    status, content = scene.ask("POST", "backups", body)
    if status != 202:
        return False
    scene.settle("backups", content["backup"])
    body["backup"]["availability_zone"] = "nowhere"
    assert scene.status("POST", "backups", body) == 400
    return bool(scene.good("GET", f"backups/{content['backup']['id']}")["availability_zone"] == "nova")


def _to_cluster(scene: Scene) -> bool:
    """The field is known; there is no cluster."""
    status, content = scene.ask(
        "POST", f"volumes/{scene.volume()}/action", {"os-migrate_volume": {"cluster": "k@file#file"}}
    )
    assert status == 400
    return "no cluster has this name" in str(content)


def _manageable_cluster(scene: Scene) -> bool:
    """Both to list and to manage; there is no cluster."""
    body = {"volume": {"cluster": "k@file#file", "ref": {"source-name": "x"}}}
    found = {
        "no cluster has this name" in str(scene.ask(*given)[1])
        for given in (("GET", "manageable_volumes?cluster=k@file"), ("POST", "manageable_volumes", body))
    }
    assert len(found) == 1
    return found.pop()


def _forced(scene: Scene) -> bool:
    id = scene.volume()
    scene.act(id, "os-reserve")
    return scene.status("DELETE", f"volumes/{id}?force=true") == 202


def _complete(scene: Scene) -> bool:
    version, scene.version = scene.version, NEWEST
    made = scene.good("POST", "attachments", {"attachment": {"volume_uuid": scene.volume()}})["id"]
    scene.version = version
    return scene.status("POST", f"attachments/{made}/action", {"os-complete": {}}) == 400


def _strict(scene: Scene) -> bool:
    found = {
        scene.status("POST", "volumes", {"volume": {"size": 1, "nonsense": 1}}) == 400,
        scene.status("PUT", f"volumes/{scene.some}", {"volume": {}}) == 400,
    }
    assert len(found) == 1
    return found.pop()


def _mode(scene: Scene) -> bool:
    body = {"attachment": {"volume_uuid": scene.volume(), "mode": "ro"}}
    status, content = scene.ask("POST", "attachments", body)
    return status == 200 and content["attachment"]["attach_mode"] == "ro"


def _consumes_quota(scene: Scene) -> bool:
    filtered = scene.ask("GET", "volumes?consumes_quota=false"), scene.ask("GET", "snapshots?consumes_quota=false")
    shown = scene.shown(), scene.good("GET", f"snapshots/{scene.snapshot}")
    found = {each.get("consumes_quota") is True for each in shown} | {status == 200 for status, _ in filtered}
    assert len(found) == 1
    return found.pop() and not filtered[0][1]["volumes"] + filtered[1][1]["snapshots"]


def _in_use(scene: Scene) -> bool:
    id = scene.attached()
    body: dict[str, Any] = {"snapshot": {"volume_id": id}}
    made = scene.status("POST", "snapshots", body) == 202
    body["snapshot"]["force"] = True
    assert scene.status("POST", "snapshots", body) == 202
    body["snapshot"] |= {"force": False, "volume_id": scene.some}
    assert (scene.status("POST", "snapshots", body) == 400) is made
    return made


def _reimage(scene: Scene) -> bool:
    small = next(each["id"] for each in scene.good("GET", "images") if each["name"] == SMALL)
    return scene.act(scene.volume(), "os-reimage", {"image_id": small}) == 202


def _etag(scene: Scene) -> bool:
    version = f"volume {scene.version[0]}.{scene.version[1]}"
    path = f"/v3/volumes/{scene.some}/metadata"
    return "etag" in ask(scene.service, "GET", path, OpenStack_API_Version=version)[2]


def answers(path: str, wanted: int = 200, method: str = "GET", body: Any = None) -> Callable[[Scene], bool]:
    return lambda scene: scene.status(method, path.format(scene=scene), body) == wanted


def lists_nothing(path: str) -> Callable[[Scene], bool]:
    def empty(scene: Scene) -> bool:
        status, content = scene.ask("GET", path)
        return status == 200 and not next(iter(content.values()))

    return empty


def shows(path: str, key: str) -> Callable[[Scene], bool]:
    def has(scene: Scene) -> bool:
        found = scene.good("GET", path.format(scene=scene))
        return key in (found[0] if isinstance(found, list) else found)

    return has


def acts(action: str, value: Any, wanted: int, made: Callable[[Scene], str]) -> Callable[[Scene], bool]:
    return lambda scene: scene.act(made(scene), action, value) == wanted


def some(scene: Scene) -> str:
    return scene.some


def _visibility(scene: Scene) -> bool:
    action = {"os-volume_upload_image": {"image_name": "i"}}
    return "visibility" in scene.good("POST", f"volumes/{scene.volume()}/action", action)


_HOST = {"host": "me@file"}
# By minor version: whether what the version brought is there.
PROBES: dict[int, Callable[[Scene], bool]] = {
    1: _visibility,
    2: answers("volumes?bootable=perhaps", 400),
    3: answers("messages"),
    4: lists_nothing("volumes?glance_metadata={'no': 'such'}".replace(" ", "%20")),
    5: lambda scene: len(scene.good("GET", "messages?limit=1")) == 1,
    6: _empty_name,
    7: lambda scene: scene.status("GET", "clusters") == 200 and "cluster" in scene.good("GET", "os-services")[0],
    8: answers("manageable_volumes?host=me@file%23file"),
    9: answers("backups/{scene.backup}", 200, "PUT", {"backup": {"name": "b"}}),
    10: lists_nothing(f"volumes?group_id={UNKNOWN}"),
    11: answers("group_types"),
    12: answers("volumes/summary"),
    13: _in_new_group,
    14: _of_group_snapshot,
    15: _etag,
    16: _to_cluster,
    17: _manageable_cluster,
    18: shows("backups/{scene.backup}", "os-backup-project-attr:project_id"),
    19: _reset("group_snapshots", lambda scene: scene.taken_of_group),
    20: _reset("groups", lambda scene: scene.group),
    21: shows("volumes/{scene.some}", "provider_id"),
    22: lists_nothing("snapshots?metadata={'no':'such'}"),
    23: _forced,
    24: answers("workers/cleanup", 202, "POST", {}),
    25: shows("groups/{scene.group}?list_volume=true", "volumes"),
    26: answers("os-services/failover", 400, "PUT", _HOST),
    27: answers("attachments"),
    28: lists_nothing("scheduler-stats/get_pools?name=nowhere"),
    29: _filtered_snapshots,
    31: answers("volumes?nonsense=1", 400),
    32: answers("os-services/get-log", 200, "PUT", {}),
    33: answers("resource_filters"),
    34: answers("volumes?name~=tak"),
    35: answers(f"scheduler-stats/get_pools?volume_type={UNKNOWN}", 404),
    36: shows("volumes/summary", "metadata"),
    38: answers("groups/{scene.group}/action", 400, "POST", {"list_replication_targets": {}}),  # it is not replicated
    39: lambda scene: scene.good("GET", "limits?project_id=p9")["absolute"]["maxTotalVolumes"] == 5,
    40: acts("revert", {}, 400, some),
    41: shows("snapshots/{scene.snapshot}", "user_id"),
    42: acts("os-extend", {"new_size": 2}, 202, Scene.attached),
    43: _backup_metadata,
    44: _complete,
    45: _count,
    46: _boot_snapshot,
    47: _of_backup,
    48: lambda scene: "shared_targets" in scene.shown() and re.fullmatch(r"[0-9a-f-]{36}", scene.shown()["service_uuid"])
    is not None,
    49: shows("os-services", "backend_state"),
    51: _backup_zone,
    52: lambda scene: [each["name"] for each in scene.good("GET", "types?extra_specs={'multiattach':'<is>%20True'}")] == ["m"],
    53: _strict,
    54: _mode,
    55: shows("volume-transfers/detail", "no_snapshots"),
    56: shows("backups/{scene.backup}", "user_id"),
    57: lambda scene: {"source_project_id", "destination_project_id", "accepted"}
    <= set(scene.good("GET", "volume-transfers/detail")[0]),
    58: _of_project,
    59: lambda scene: "transfers_links" in scene.ask("GET", "volume-transfers?limit=1")[1],
    60: lists_nothing("volumes/detail?created_at=gt:2999-01-01T00:00:00"),
    61: shows("volumes/{scene.some}", "cluster_name"),
    62: answers("default-types"),
    63: lambda scene: "volume_type_id" in scene.shown() and len(scene.shown()["volume_type_id"]) == 36,
    65: _consumes_quota,
    66: _in_use,
    68: _reimage,
    71: acts("os-extend_volume_completion", {"error": False}, 400, some),
}  # fmt: skip


@pytest.fixture(scope="module")
def scene(module_service: Callable[..., ServiceProcess]) -> Iterator[Scene]:
    return Scene(module_service(driver="memory", driver_options="instant_clone = true"))


def _name(step: Step) -> str:
    return f"3.{step.minor}"


@pytest.mark.parametrize("step", [each for each in STEPS if each.minor in PROBES], ids=_name)
def test_it_is_there_from_its_version_on(scene: Scene, step: Step) -> None:
    """At its version and at the newest one, and not at the version before."""

    def there(version: Version) -> bool:
        scene.version = version
        return PROBES[step.minor](scene)

    assert [there((3, step.minor - 1)), there(step.version), there(NEWEST)] == [False, True, True], step.what


def test_every_version_is_tried_or_says_why_not() -> None:
    """A version changes nothing or has a probe; the newest one is served."""
    probed = set(PROBES)
    assert [each.minor for each in STEPS] == list(range(NEWEST[1] + 1))
    assert probed | UNCHANGED == set(range(NEWEST[1] + 1))
    assert not probed & UNCHANGED


def test_the_page_has_the_same_table() -> None:
    """docs/api.md says of each version what the code says."""
    rows = re.findall(r"^\| 3\.(\d+) \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(str(each.minor), each.what) for each in STEPS]
