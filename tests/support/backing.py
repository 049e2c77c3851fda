"""A service of volumes in files with backups, two projects and an administrator."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asking import ask
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc.model import states

MIB = 1 << 20
TOKENS = "".join(
    f'[tokens.{name}]\ntoken = "{name}-0123456789abcdef"\nproject = "{project}"\nroles = ["{role}"]\n'
    for name, project, role in (("p1", "p1", "member"), ("p2", "p2", "member"), ("root", "p1", "admin"))
)


class Backing:
    """A service of volumes in files, two projects and an administrator."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.store = service.state / "backups"

    def send(
        self, method: str, path: str, body: Any = None, who: str = "root", version: str = "3.44"
    ) -> tuple[int, Any]:
        headers = {"X_Auth_Token": f"{who}-0123456789abcdef", "OpenStack_API_Version": f"volume {version}"}
        return ask(self.service, method, f"/v3/{path}", body, **headers)[:2]

    def good(self, method: str, path: str, body: Any = None, who: str = "root", version: str = "3.44") -> Any:
        status, content = self.send(method, path, body, who, version)
        assert status < 300, (method, path, content)
        return content

    def settled(self, noun: str, id: str) -> str:
        """The status once no operation has it in hand; "gone" for a row that is not there."""

        def at_rest() -> str | None:
            status, content = self.send("GET", f"{noun}/{id}")
            found = "gone" if status == 404 else str(content[noun[:-1]]["status"])
            return None if found in states.VOLUME_IN_FLIGHT | states.BACKUP_IN_FLIGHT else found

        return str(wait_until(at_rest, 30, lambda: self.send("GET", f"{noun}/{id}")))

    def volume(self, who: str = "p1", **fields: Any) -> str:
        made = str(self.good("POST", "volumes", {"volume": {"size": 1, **fields}}, who)["volume"]["id"])
        assert self.settled("volumes", made) == "available"
        return made

    def path(self, volume: str) -> Path:
        return self.service.backend.volume(self.service.state, volume)

    def write(self, volume: str, offset: int, content: bytes) -> None:
        with self.path(volume).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def content(self, volume: str) -> bytes:
        return self.path(volume).read_bytes()

    def backup(self, volume: str, who: str = "p1", expected: str = "available", **fields: Any) -> str:
        body = {"backup": {"volume_id": volume, **fields}}
        made = str(self.good("POST", "backups", body, who)["backup"]["id"])
        assert self.settled("backups", made) == expected
        return made

    def shown(self, id: str, version: str = "3.44") -> dict[str, Any]:
        return dict(self.good("GET", f"backups/{id}", version=version)["backup"])

    def restore(self, backup: str, who: str = "p1", expected: str = "available", **fields: Any) -> str:
        made = self.good("POST", f"backups/{backup}/restore", {"restore": fields}, who)["restore"]["volume_id"]
        assert self.settled("volumes", made) == expected
        return str(made)

    def restore_refused(self, backup: str) -> None:
        """A backup that is not whole is restored nowhere."""
        status, content = self.send("POST", f"backups/{backup}/restore", {"restore": {}}, "p1")
        assert (status, "status" in str(content)) == (400, True), content

    def delete(self, noun: str, id: str, who: str = "root") -> None:
        self.good("DELETE", f"{noun}/{id}", None, who)
        assert self.settled(noun, id) == "gone"

    def chunks(self) -> set[str]:
        return {path.name for path in self.store.glob("spaces/*/chunks/*/*") if not path.name.startswith(".")}

    def left(self) -> list[str]:
        """What is in the store besides chunks and manifests."""
        found = [*self.store.glob("spaces/*/sessions/*"), *self.store.glob("spaces/*/trash/*")]
        return [str(path.relative_to(self.store)) for path in found]


def make_backing(make: Callable[..., ServiceProcess], name: str) -> Backing:
    """Started with static tokens."""
    service = make(name, start=False, auth="token", quota_backups=100)
    tokens = service.state.parent / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    service.settings["TOKENS_FILE"] = tokens
    return Backing(service.start())


def head(content: Path, size: int = 32 * MIB) -> bytes:
    """What the tests write is at the beginning; of the rest only whether it is a hole."""
    with content.open("rb") as file:
        found = file.read(size)
        assert os.lseek(file.fileno(), size, os.SEEK_HOLE) == size
    return found
