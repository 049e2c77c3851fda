"""A client of an attachment as a hypervisor has one: nbdkit behind dial.py, which finds the volume at another host, and writers."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import nbd
from asking import ask
from between import Between
from mirroring import Writer
from waiting import wait_until

from nbdsvc.connectors.fuse_loop import following

KIND = "volume.migrate_in_use_between_hosts"
CONNECTOR = {"host": "hypervisor", "ip": "127.0.0.1"}
COMMON = 5
V = {"OpenStack_API_Version": "volume 3.44"}


def _listens(path: Path) -> bool:
    """Between bind and listen, a connection is refused."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


class Followed:
    """A volume of host a, attached over the network; `writers` write to it by the agent's client."""

    running: ClassVar[list["Followed"]] = []

    def __init__(self, between: Between, folder: Path, mode: str = "rw", **connector: Any) -> None:
        self.between, self.id = between, between.written()
        fields = {"volume_uuid": self.id, "connector": {**CONNECTOR, **connector, "mode": mode}}
        status, content, _ = ask(between.api, "POST", "/v3/attachments", {"attachment": fields}, **V)
        assert status == 200, content
        self.attachment, info = str(content["attachment"]["id"]), content["attachment"]["connection_info"]
        self.uri = str(info["uri"])
        between.client.act("attachments", self.attachment, "os-complete")
        self.folder = folder / self.attachment[:8]
        self.folder.mkdir()
        self.writers: list[Writer] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._info = info

    def start(self, *prefix: str) -> "Followed":
        """prefix: of the command, for a namespace of the network."""
        path = self.folder / "s"
        argv = [*prefix, *following(self.folder, self._info, "-f", "-U", str(path))]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        self.running.append(self)
        wait_until(lambda: _listens(path))
        self.socket = f"nbd+unix:///{self._info['export']}?socket={path}"
        self.writers = [Writer(self.socket, index, COMMON, 1) for index in range(2)]
        for writer in self.writers:
            writer.start()
        self.await_changes()
        return self

    def await_changes(self) -> None:
        before = [writer.changes for writer in self.writers]

        def changed() -> bool:
            assert not any(writer.error for writer in self.writers), [writer.error for writer in self.writers]
            return all(writer.changes > old + 10 for writer, old in zip(self.writers, before, strict=True))

        wait_until(changed, 60)

    def info(self) -> dict[str, Any]:
        """The connection_info as a new client gets it."""
        status, content, _ = ask(self.between.api, "GET", f"/v3/attachments/{self.attachment}", **V)
        assert status == 200, content
        return dict(content["attachment"]["connection_info"])

    def description(self) -> str:
        """What the former address says, as `nbdinfo --list` shows it."""
        uri = f"{self.uri}?tls-psk-file={self.folder / 'psk'}"
        done = subprocess.run(["nbdinfo", "--list", uri], capture_output=True, text=True, timeout=30, check=False)
        return done.stdout + done.stderr

    def check(self, host: str, status: str | None) -> None:
        """It is in use at this host, with all that was acknowledged there; room and quotas count it once."""
        self.await_changes()
        for writer in self.writers:
            writer.stop()
        between = self.between
        wait_until(lambda: between.place(self.id) == (host, "in-use", status), facts=lambda: between.place(self.id))
        with between.path(host, self.id).open("rb") as file:
            content = file.read(64 << 20)
        assert all(each.is_in(lambda length, offset: content[offset : offset + length]) for each in self.writers)
        client = nbd.NBD()
        client.connect_uri(self.socket)
        assert all(each.is_in(client.pread) for each in self.writers)
        client.shutdown()
        wait_until(
            lambda: between.objects(self.id) == {host: [f"volume-{self.id}"]}, facts=lambda: between.objects(self.id)
        )
        wait_until(lambda: between.promised() == {host: 1}, facts=between.promised)
        assert between.used() == (1, 1)

    @property
    def worst(self) -> float:
        """The longest request in seconds."""
        return max(writer.worst for writer in self.writers)

    def end(self) -> None:
        """Detach and delete: nothing of it stays on either host."""
        self.stop()
        self.between.client.delete("attachments", self.attachment)
        assert self.between.api.wait_status("volumes", self.id) == "available"
        self.between.remove(self.id)
        wait_until(lambda: not self.between.leftovers(), 60, facts=self.between.leftovers)

    @classmethod
    def stop_all(cls) -> None:
        """Whatever a test that failed has left."""
        while cls.running:
            cls.running.pop().stop()

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            time.sleep(0.05)  # dial.py ends with it
