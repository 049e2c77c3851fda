"""A service with an image cache, and what tests of the cache do with it."""

import json
import os
from pathlib import Path
from typing import Any

from asking import ask
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc.cli.client import Client
from nbdsvc.units import MiB

# A service without tokens takes it for a user and a project.
TOKEN = "token-0123456789:{}"
IN_FLIGHT = ("creating", "downloading", "deleting")


class Caching:
    """A started service. Its image `base.raw` has 2 MiB of noise, and has rested so that it has a version."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.image_bytes = os.urandom(2 * MiB)
        self.base = self.image("base.raw", self.image_bytes)

    @property
    def client(self) -> Client:
        """Of an administrator."""
        return Client(self.service.url, TOKEN.format("p1"), "p1")

    def ask(self, project: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and reply of a request by the user of a project."""
        status, said, _ = ask(self.service, method, path, body, X_Auth_Token=TOKEN.format(project))
        return status, said

    def image(self, name: str, content: bytes) -> str:
        """A file in the image folder, which was changed long enough ago."""
        path = self.service.state / "images" / name
        path.write_bytes(content)
        rest(path)
        return name

    def change_image(self) -> None:
        """Write other bytes into the image's file, without a change of its size and of its time of modification."""
        path = self.service.state / "images" / self.base
        status = path.stat()
        self.image_bytes = bytes([7]) + self.image_bytes[1:]
        with path.open("r+b") as file:
            file.write(self.image_bytes)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        rest(path)

    def private_image(self, project: str, content: bytes) -> str:
        """The id of an image of a project."""
        id = "11111111-0000-4000-8000-00000000000a"
        folder = self.service.state / "images"
        (folder / f"{id}.data").write_bytes(content.ljust(512, b"\0"))
        index = {"id": id, "name": "secret", "project_id": project, "visibility": "private", "disk_format": "raw"}
        (folder / f"{id}.json").write_text(json.dumps(index))
        rest(folder / f"{id}.data")
        return id

    def request(self, project: str, image: str, size: int = 1) -> tuple[int, Any]:
        """Status and reply of a creation by a member of the project."""
        body = {"volume": {"size": size, "imageRef": image}}
        return self.ask(project, "POST", "/v3/volumes", body)

    def refusal(self, project: str, image: str) -> tuple[int, str]:
        """Status and words of a creation that is refused."""
        status, said = self.request(project, image)
        return status, json.dumps(said)

    def volume(self, size: int = 1, image: str | None = None, project: str = "p1") -> str:
        """The id of a new volume of the image, which is available."""
        status, made = self.request(project, image or self.base, size)
        assert status == 202, made
        id = str(made["volume"]["id"])
        assert self.rested(id) == "available"
        return id

    def rested(self, volume: str) -> str:
        """The status of a volume that is made, when it is."""

        def status() -> str:
            return str(self.client.get("volumes", volume)["volume"]["status"])

        wait_until(lambda: status() not in IN_FLIGHT, 60 * PATIENCE, status)
        return status()

    def path(self, volume: str) -> Path:
        return self.service.backend.volume(self.service.state, volume)

    def where(self, volume: str) -> str:
        """host@backend#pool of a volume."""
        return str(self.client.get("volumes", volume)["volume"]["os-vol-host-attr:host"])

    def content(self, volume: str) -> bytes:
        """The first bytes of a volume, as many as the image has."""
        with self.path(volume).open("rb") as file:
            return file.read(len(self.image_bytes))

    def filled(self, volume: str) -> bool:
        """Whether the volume's creation copied the image."""
        operation = self.client.operation_of(volume)
        return bool(operation["progress"]["total"])

    def entries(self) -> list[dict[str, Any]]:
        return list(self.client.get("image-cache")["cached_images"])

    def available(self) -> list[dict[str, Any]]:
        return [each for each in self.entries() if each["status"] == "available"]

    def in_flight(self) -> list[dict[str, Any]]:
        return [each for each in self.entries() if each["status"] in IN_FLIGHT]

    def cached_names(self) -> set[str]:
        return {each["name"] for each in self.entries()}

    def kept(self) -> dict[str, Any]:
        """The only entry, once it is made."""
        wait_until(lambda: len(self.available()) == 1, 30 * PATIENCE, self.entries)
        return self.available()[0]

    def provisioned(self) -> int:
        """GiB that the first pool has promised, by its last report."""
        pools = self.client.get("scheduler-stats", "get_pools", detail="True")["pools"]
        return int(pools[0]["capabilities"]["provisioned_capacity_gb"])

    def check_clean(self) -> None:
        """AssertionError for anything that is stuck, left over or differs."""
        self.service.settle()
        assert self.service.leftovers() == []
        assert self.service.findings() == []


def rest(path: Path) -> None:
    """Wait until a further change of the file would have another time."""
    from nbdsvc.images.version import of_file

    wait_until(lambda: of_file("x", path.stat(), None, None) is not None, 10 * PATIENCE, lambda: str(path))


def tokens(folder: Path) -> dict[str, object]:
    """Settings for a service with an administrator of project p1, and a member each of `mine` and `other`."""
    path = folder / "tokens.toml"
    users = [("p1", "admin"), ("mine", "member"), ("other", "member")]
    lines = (f'[tokens.{p}]\ntoken = "{TOKEN.format(p)}"\nproject = "{p}"\nroles = ["{role}"]\n' for p, role in users)
    path.write_text("".join(lines))
    path.chmod(0o600)
    return {"AUTH": "token", "TOKENS_FILE": path}
