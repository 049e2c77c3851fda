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
UNCHANGED = {0, 30, 50, 64, 67, 69, 70}
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
        self.backup = self.settle("backups", self.good("POST", "backups", {"backup": {"volume_id": self.some}}))

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
    lists = ("volumes", "volumes/detail", "snapshots", "snapshots/detail")
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
    8: answers("manageable_volumes?host=me@file%23file"),
    10: lists_nothing(f"volumes?group_id={UNKNOWN}"),
    12: answers("volumes/summary"),
    15: _etag,
    21: shows("volumes/{scene.some}", "provider_id"),
    22: lists_nothing("snapshots?metadata={'no':'such'}"),
    23: _forced,
    24: answers("workers/cleanup", 202, "POST", {}),
    26: answers("os-services/failover", 400, "PUT", _HOST),
    27: answers("attachments"),
    28: lists_nothing("scheduler-stats/get_pools?name=nowhere"),
    31: answers("volumes?nonsense=1", 400),
    32: answers("os-services/get-log", 200, "PUT", {}),
    33: answers("resource_filters"),
    34: answers("volumes?name~=tak"),
    35: answers(f"scheduler-stats/get_pools?volume_type={UNKNOWN}", 404),
    36: shows("volumes/summary", "metadata"),
    39: lambda scene: scene.good("GET", "limits?project_id=p9")["absolute"]["maxTotalVolumes"] == 5,
    40: acts("revert", {}, 400, some),
    41: shows("snapshots/{scene.snapshot}", "user_id"),
    42: acts("os-extend", {"new_size": 2}, 202, Scene.attached),
    44: _complete,
    45: _count,
    46: _boot_snapshot,
    47: _of_backup,
    48: lambda scene: "shared_targets" in scene.shown() and re.fullmatch(r"[0-9a-f-]{36}", scene.shown()["service_uuid"])
    is not None,
    49: shows("os-services", "backend_state"),
    52: lambda scene: [each["name"] for each in scene.good("GET", "types?extra_specs={'multiattach':'<is>%20True'}")] == ["m"],
    53: _strict,
    54: _mode,
    55: shows("volume-transfers/detail", "no_snapshots"),
    57: lambda scene: {"source_project_id", "destination_project_id", "accepted"}
    <= set(scene.good("GET", "volume-transfers/detail")[0]),
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
    """A version waits for a resource that is not there, changes nothing, or has a probe; the newest one is served."""
    waiting = {each.minor for each in STEPS if each.awaits}
    probed = set(PROBES)
    assert [each.minor for each in STEPS] == list(range(NEWEST[1] + 1))
    assert probed | waiting | UNCHANGED == set(range(NEWEST[1] + 1))
    assert not probed & UNCHANGED
    assert not waiting & (probed | UNCHANGED)


def test_the_page_has_the_same_table() -> None:
    """docs/api.md says of each version what the code says."""
    rows = re.findall(r"^\| 3\.(\d+) \| (.*?) \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(str(each.minor), each.what, each.awaits or "served") for each in STEPS]
