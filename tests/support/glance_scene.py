"""A service whose images are Glance's, and what users of the session's Keystone do with both."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asking import ask
from glance_server import Glance
from keystone_server import PASSWORD, REGION, Keystone, rest
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

MIB = 1 << 20
OCTETS = "application/octet-stream"
RAW = {"disk_format": "raw", "container_format": "bare"}


def user_file(folder: Path, keystone: str, password: str = PASSWORD) -> Path:
    """The service user's credentials. keystone: its URL, with /v3."""
    path = folder / "glance-user.toml"
    path.touch(0o600)
    path.write_text(f'auth_url = "{keystone}"\nusername = "nbdsvc"\npassword = "{password}"\nregion = "{REGION}"\n')
    return path


def make_scene(
    make: Callable[..., ServiceProcess], keystone: Keystone, glance: Glance, folder: Path, *name: str, **given: Any
) -> "Scene":
    """Of a new service on the simulator. folder: of the credentials; given: more settings."""
    credentials = user_file(folder, keystone.url)
    fixed = {"driver": "memory", "image_service": "glance", "glance_user_file": credentials}
    return Scene(make(*name, **fixed, **given), keystone, glance)


class Scene:
    """Requests are the user `member`'s, in the project `demo`, unless another token is given."""

    def __init__(self, service: ServiceProcess, keystone: Keystone, glance: Glance) -> None:
        self.service, self.keystone, self.glance = service, keystone, glance
        self.project = keystone.projects["demo"]
        self.token = keystone.token("member")

    def ask(self, method: str, path: str, body: Any = None, token: str = "", project: str = "") -> tuple[int, Any]:
        where = f"/v3/{project or self.project}/{path}"
        headers = {"X_Auth_Token": token or self.token, "OpenStack_API_Version": "volume 3.70"}
        return ask(self.service, method, where, body, **headers)[:2]

    def create(self, image: str, **fields: Any) -> str:
        """The id of a volume that is being made of the image."""
        status, content = self.ask("POST", "volumes", {"volume": {"size": 1, "imageRef": image, **fields}})
        assert status == 202, content
        return str(content["volume"]["id"])

    def act(self, volume: str, action: str, **value: Any) -> Any:
        status, content = self.ask("POST", f"volumes/{volume}/action", {action: value})
        assert status in (200, 202), content
        return content

    def upload(self, volume: str, **fields: Any) -> str:
        """The image's id."""
        made = self.act(volume, "os-volume_upload_image", **{"image_name": "made", "disk_format": "qcow2", **fields})
        return str(made["os-volume_upload_image"]["image_id"])

    def wait(self, volume: str, seconds: float = 60) -> str:
        return self.service.wait_status("volumes", volume, seconds * PATIENCE)

    def shown(self, volume: str) -> Any:
        return self.ask("GET", f"volumes/{volume}")[1]["volume"]

    def operation(self, volume: str) -> Any:
        path = f"operations?resource_id={volume}&sort=created_at:desc&limit=1"
        return self.ask("GET", path)[1]["operations"][0]

    def why(self, volume: str) -> str:
        """The error of the newest operation on it; empty for none."""
        return str((self.operation(volume)["error"] or {}).get("message", ""))

    def path(self, volume: str) -> Path:
        return self.service.backend.volume(self.service.state, volume)

    def begins_with(self, volume: str, content: bytes) -> bool:
        """And has zeros behind."""
        with self.path(volume).open("rb") as file:
            return file.read(len(content)) == content and not any(file.read(MIB))

    def written(self, content: bytes) -> str:
        """A volume that begins with this."""
        made = self.ask("POST", "volumes", {"volume": {"size": 1}})[1]["volume"]["id"]
        assert self.wait(made) == "available"
        with self.path(made).open("r+b") as file:
            file.write(content)
        return str(made)

    # Glance itself

    def ask_glance(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        return rest(method, f"{self.glance.url}/v2/{path}", token or self.token, body)

    def new_image(self, **fields: Any) -> str:
        """Without bytes."""
        reply = self.ask_glance("POST", "images", {"name": "an image", **RAW, **fields})
        assert reply.status == 201, reply
        return str(reply.content["id"])

    def image(self, content: bytes, **fields: Any) -> str:
        id = self.new_image(**fields)
        self.put(id, content)
        return id

    def put(self, id: str, content: bytes) -> None:
        import urllib3

        headers = {"X-Auth-Token": self.token, "Content-Type": OCTETS}
        reply = urllib3.request(
            "PUT", f"{self.glance.url}/v2/images/{id}/file", body=content, headers=headers, timeout=60
        )
        assert reply.status == 204, reply.data

    def set_property(self, id: str, name: str, value: str) -> None:
        import urllib3

        kind = "application/openstack-images-v2.1-json-patch"
        reply = urllib3.request(
            "PATCH", f"{self.glance.url}/v2/images/{id}", timeout=60,
            body=json.dumps([{"op": "replace", "path": f"/{name}", "value": value}]),
            headers={"X-Auth-Token": self.token, "Content-Type": kind},
        )  # fmt: skip
        assert reply.status == 200, reply.data

    def in_glance(self, id: str) -> dict[str, Any] | None:
        """The image's record; None where there is none."""
        reply = self.ask_glance("GET", f"images/{id}", token=self.keystone.token("admin", project="admin"))
        return dict(reply.content) if reply.status == 200 else None

    def unfinished_images(self) -> list[str]:
        """Of any project, queued or half there."""
        token = self.keystone.token("admin", project="admin")
        found = [
            self.ask_glance("GET", f"images?status={each}&limit=100", token=token) for each in ("queued", "saving")
        ]
        return [image["id"] for reply in found for image in reply.content["images"]]


def pattern(mib: int) -> bytes:
    return os.urandom(MIB) * mib


def sha512(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest()


def wait_for(condition: Any) -> Any:
    return wait_until(condition, 60 * PATIENCE)
