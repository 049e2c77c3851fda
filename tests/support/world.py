"""A service with something of every kind in it, and how a request of each operation of its API is written down."""

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asking import ask
from caching import rest
from serving import PATIENCE, UNFINISHED, ServiceProcess
from shapes import Shape, Version
from waiting import wait_until

from drivers.memory import Faults
from nbdsvc.model import states

ADMIN, MEMBER = "admin-token-0123456789", "member-token-0123456789"
TOKENS = f"""
[tokens.root]
token = "{ADMIN}"
project = "p1"
roles = ["admin", "member"]
[tokens.tester]
token = "{MEMBER}"
project = "p1"
roles = ["member"]
"""
# The second one is smaller, so that volumes go there by a migration only.
BACKENDS = """
[file]
driver = 'memory'
options = { pool = 'STATE/pool' }
image_cache_gigabytes = 100
[spare]
driver = 'memory'
options = { capacity = 107374182400 }
cluster = 'c1'
"""
SPARE = "me@spare#spare"
UUID = "00000000-0000-4000-8000-00000000000a"
GIB = 1 << 30


class World:
    """A service and what its requests need; each `new` thing is fresh, so that a request may end it."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self._made = 0
        self._frozen = False
        self.attached = self.new_volume(name="attached")
        self.act("volumes", self.attached, "os-set_image_metadata", {"metadata": {"os": "x"}})
        self.attach(self.attached)
        self.snapshot = self.new_snapshot(self.new_volume(name="snapped"))
        self.backup = self.new_backup()
        self.new_backup()  # the first page of a list is full
        self.reserved = self.new_attachment()
        self.failed = self.new_message()

    def ask(
        self, method: str, path: str, body: Any = None, version: Version = (3, 71), *, admin: bool = True
    ) -> tuple[int, Any, dict[str, str]]:
        headers = {
            "X_Auth_Token": ADMIN if admin else MEMBER,
            "OpenStack_API_Version": f"volume {version[0]}.{version[1]}",
        }
        return ask(self.service, method, path, body, **headers)

    def good(self, method: str, path: str, body: Any = None) -> Any:
        status, content, _ = self.ask(method, path, body)
        assert status < 300, (method, path, content)
        return content

    def act(self, noun: str, id: str, action: str, value: Any = None) -> None:
        self.good("POST", f"/v3/{noun}/{id}/action", {action: value})

    def settled(self, noun: str, id: str) -> str:
        """The id, once no operation works on it."""

        def status() -> str:
            return str(self.good("GET", f"/v3/{noun}/{id}")[noun.removesuffix("s")]["status"])

        in_flight = (
            states.VOLUME_IN_FLIGHT | states.SNAPSHOT_IN_FLIGHT | states.GROUP_IN_FLIGHT | states.BACKUP_IN_FLIGHT
        )
        wait_until(lambda: status() not in in_flight, 60 * PATIENCE, status)
        return id

    def cluster(self) -> str:
        """The name of one."""
        return str(self.good("GET", "/v3/clusters")["clusters"][0]["name"])

    def unique(self, word: str) -> str:
        self._made += 1
        return f"{word}{self._made}"

    def new_volume(self, **fields: Any) -> str:
        made = self.good("POST", "/v3/volumes", {"volume": {"size": 1, "metadata": {"k": "v"}, **fields}})
        return self.settled("volumes", made["volume"]["id"])

    def new_snapshot(self, volume: str) -> str:
        fields = {"volume_id": volume, "metadata": {"k": "v"}}
        made = self.good("POST", "/v3/snapshots", {"snapshot": fields})["snapshot"]["id"]
        return self.settled("snapshots", made)

    def new_backup(self) -> str:
        made = self.good("POST", "/v3/backups", {"backup": {"volume_id": self.new_volume()}})["backup"]["id"]
        return self.settled("backups", made)

    def forgotten_backup(self) -> Any:
        """The record of a backup that has no row any more."""
        record = self.good("GET", f"/v3/backups/{self.backup}/export_record")["backup-record"]
        content = {**json.loads(base64.b64decode(record["backup_url"])), "id": str(uuid.uuid4())}
        return {**record, "backup_url": base64.b64encode(json.dumps(content).encode()).decode()}

    def attach(self, volume: str) -> str:
        self.act("volumes", volume, "os-attach", {"instance_uuid": UUID, "mountpoint": "/dev/vdb"})
        return volume

    def attached_volume(self) -> str:
        return self.attach(self.new_volume())

    def failed_volume(self) -> str:
        """Of which there is a finding."""
        id = self.new_volume()
        self.act("volumes", id, "os-reset_status", {"status": "error"})
        return id

    def detaching_volume(self) -> str:
        id = self.attached_volume()
        self.act("volumes", id, "os-begin_detaching")
        return id

    def new_attachment(self, **fields: Any) -> str:
        body = {"attachment": {"volume_uuid": self.new_volume(), **fields}}
        return str(self.good("POST", "/v3/attachments", body)["attachment"]["id"])

    def shared_attachment(self) -> str:
        """One of two to the same volume."""
        volume = self.new_volume(multiattach=True)
        made = [self.good("POST", "/v3/attachments", {"attachment": {"volume_uuid": volume}}) for _ in range(2)]
        return str(made[0]["attachment"]["id"])

    def volume_with_snapshot(self) -> str:
        id = self.new_volume()
        self.newest = self.new_snapshot(id)
        return id

    def new_type(self, **fields: Any) -> str:
        body = {"volume_type": {"name": self.unique("type"), "extra_specs": {"k": "v"}, **fields}}
        return str(self.good("POST", "/v3/types", body)["volume_type"]["id"])

    def default_of(self, project: str) -> str:
        """The name of this project, which has a default type now."""
        self.good("PUT", f"/v3/default-types/{project}", {"default_type": {"volume_type": "__DEFAULT__"}})
        return project

    def an_image(self) -> str:
        """A small one, which is there from the first call on."""
        path = self.service.state / "images" / "small.raw"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(1 << 20))
        found = self.good("GET", "/v3/images")["images"]
        return next(str(each["id"]) for each in found if each["name"] == "small.raw")

    def encrypted_type(self) -> str:
        id = self.new_type()
        self.good("POST", f"/v3/types/{id}/encryption", {"encryption": {"provider": "luks"}})
        return id

    def creating_snapshot(self) -> str:
        """One that no operation works on."""
        id = self.new_snapshot(self.new_volume())
        self.act("snapshots", id, "os-reset_status", {"status": "creating"})
        return id

    def private_type(self, *projects: str) -> str:
        id = self.new_type(**{"os-volume-type-access:is_public": False})
        for project in projects:
            self.act("types", id, "addProjectAccess", {"project": project})
        return id

    def new_group_type(self, **fields: Any) -> str:
        body = {"group_type": {"name": self.unique("gt"), "group_specs": {"k:l": "v"}, **fields}}
        return str(self.good("POST", "/v3/group_types", body)["group_type"]["id"])

    def private_group_type(self, *projects: str) -> str:
        id = self.new_group_type(is_public=False)
        for project in projects:
            self.act("group_types", id, "nbdsvc-addProjectAccess", {"project": project})
        return id

    def new_group(self, volumes: int = 0, **fields: Any) -> str:
        name = self.unique("gt")
        self.good("POST", "/v3/group_types", {"group_type": {"name": name}})
        body = {"group": {"group_type": name, "volume_types": ["__DEFAULT__"], **fields}}
        id = self.settled("groups", self.good("POST", "/v3/groups", body)["group"]["id"])
        for _ in range(volumes):
            self.new_volume(group_id=id)
        return id

    def new_group_snapshot(self) -> str:
        body = {"group_snapshot": {"group_id": self.new_group(1)}}
        return self.settled("group_snapshots", self.good("POST", "/v3/group_snapshots", body)["group_snapshot"]["id"])

    def new_consistency_group(self, volumes: int = 0) -> str:
        body = {"consistencygroup": {"volume_types": "__DEFAULT__"}}
        made = self.good("POST", "/v3/consistencygroups", body)["consistencygroup"]["id"]
        id = self.settled("consistencygroups", made)
        for _ in range(volumes):
            self.new_volume(consistencygroup_id=id)
        return id

    def new_cgsnapshot(self) -> str:
        body = {"cgsnapshot": {"consistencygroup_id": self.new_consistency_group(1)}}
        return self.settled("cgsnapshots", self.good("POST", "/v3/cgsnapshots", body)["cgsnapshot"]["id"])

    def new_qos_specs(self) -> str:
        body = {"qos_specs": {"name": self.unique("qos"), "write_iops_sec": "100", "size_iops_sec": "4096"}}
        return str(self.good("POST", "/v3/qos-specs", body)["qos_specs"]["id"])

    def new_transfer(self) -> tuple[str, str]:
        """Of a new volume: its id and its key."""
        made = self.good("POST", "/v3/os-volume-transfer", {"transfer": {"volume_id": self.new_volume()}})["transfer"]
        return str(made["id"]), str(made["auth_key"])

    def new_message(self) -> str:
        """Of a creation that failed."""
        self._plan(error="DeviceBusy")
        id = self.new_volume()
        return str(self.good("GET", f"/v3/messages?resource_uuid={id}")["messages"][0]["id"])

    def new_image(self) -> str:
        """An uploaded one, whole."""
        action = {"os-volume_upload_image": {"image_name": self.unique("image")}}
        volume = self.new_volume()
        made = self.good("POST", f"/v3/volumes/{volume}/action", action)["os-volume_upload_image"]["image_id"]
        self.settled("volumes", volume)
        return str(made)

    def cached_image(self) -> str:
        """One that is whole, of an image of its own."""
        path = self.service.state / "images" / f"{self.unique('cached')}.raw"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(4096))
        rest(path)
        self.new_volume(imageRef=path.name)

        def found() -> str | None:
            listed = self.good("GET", "/v3/image-cache")["cached_images"]
            return next((x["id"] for x in listed if (x["name"], x["status"]) == (path.name, "available")), None)

        return str(wait_until(found, 60 * PATIENCE, lambda: path.name))

    def running_operation(self) -> str:
        """A creation that takes half a second."""
        self._plan(delay=0.5)
        id = self.good("POST", "/v3/volumes", {"volume": {"size": 1}})["volume"]["id"]
        return str(self.good("GET", f"/v3/operations?resource_id={id}")["operations"][0]["id"])

    def _plan(self, **fault: Any) -> None:
        """For the next creation; none that runs may meet the fault instead."""

        def unfinished() -> bool:
            return any(self.good("GET", f"/v3/operations?state={state}")["operations"] for state in UNFINISHED)

        wait_until(lambda: not unfinished(), 60 * PATIENCE)
        Faults(self.service.state / "pool", "file").plan({"create_volume": [{"times": 1, **fault}]})

    def enable(self) -> None:
        """The storage host, which some operations disable."""
        self.ask("PUT", "/v3/os-services/thaw", {"host": "me@file"})  # the reply is 400 where the backend is not frozen
        self.good("PUT", "/v3/os-services/enable", {"host": "me@file", "binary": "cinder-volume"})
        self._frozen = False

    def open(self) -> None:
        """Undo a freeze of an earlier request: the next one may need to change something."""
        if self._frozen:
            self.enable()

    def thawed(self) -> Any:
        """The body that freezes the storage host."""
        self._frozen = True
        return {"host": "me@file"}

    def frozen(self) -> Any:
        """The body that thaws the storage host, which is frozen."""
        self.open()
        self._frozen = True
        self.good("PUT", "/v3/os-services/freeze", {"host": "me@file"})
        return {"host": "me@file"}

    def foreign(self, folder: str = "volumes") -> str:
        """The name of an object in the pool that is not managed."""
        name = self.unique("foreign") + ".raw"
        with (self.service.state / "pool" / folder / name).open("wb") as file:
            file.truncate(GIB)
        return name


Request = tuple[str, str, Any]


@dataclass(frozen=True)
class Operation:
    """`name`: METHOD path, or METHOD path action. `shape` None: no body; "text": no JSON. Below `since` it is a 404."""

    name: str
    status: int
    shape: Shape
    send: Callable[[World], Request]
    since: Version = (3, 0)
    admin: bool = False


def get(path: str, shape: Shape, given: Callable[[World], str] | str, **more: Any) -> Operation:
    """GET; `given`: what follows /v3/."""
    where = given if callable(given) else lambda _world: str(given)
    return send("GET", path, 200, shape, lambda w: (where(w), None), **more)


def send(
    method: str, path: str, status: int, shape: Shape, given: Callable[[World], tuple[str, Any]], **more: Any
) -> Operation:
    """Another method; `given`: what follows /v3/, and the body."""

    def request(world: World) -> Request:
        world.open()
        where, body = given(world)
        return method, f"/v3/{where}", body

    return Operation(f"{method} /v3/{path}", status, shape, request, **more)


def act(
    noun: str, action: str, made: Callable[[World], str], value: Any = None, status: int = 202, shape: Shape = None,
    **more: Any,
) -> Operation:  # fmt: skip
    """An action; `value`: its parameters, or what makes them."""

    def send(world: World) -> Request:
        world.open()
        id = made(world)
        return "POST", f"/v3/{noun}/{id}/action", {action: value(world, id) if callable(value) else value}

    return Operation(f"POST /v3/{noun}/{{id}}/action {action}", status, shape, send, **more)
