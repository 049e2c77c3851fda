"""The product for its users: a service on the storage host, its API, and its command on every host."""

import http.client
import json
import time
from typing import Any

from rig.agent import Agent, HostFailed

PORT = 8776
UNIT = "nbdsvc"
UNIT_FILE = f"/etc/systemd/system/{UNIT}.service"
# Seconds. Under emulation, beside other machines, a cold start takes minutes.
READY_SECONDS = 240
STATE = "/var/lib/nbdsvc"
# Seconds. Much more than an operation needs from the end in its row to the removal of its files, also in emulation.
LETTING_GO_SECONDS = 10.0


class Refused(Exception):
    """The API replied with a fault."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Service:
    """nbdsvc on one host, as a systemd unit. settings: NBDSVC_* without the prefix. lasting: restarted when it ends."""

    def __init__(self, agent: Agent, *, lasting: bool = False, **settings: Any) -> None:
        self.agent = agent
        self.lasting = lasting
        self.settings = {"LISTEN": "0.0.0.0", "AUTH": "noauth", "HOST": agent.host.name, "REPAIR_INTERVAL": 2,
                         "QUOTA_VOLUMES": 100, "QUOTA_SNAPSHOTS": 100, "QUOTA_GIGABYTES": 1000, **settings}  # fmt: skip

    def start(self, *, up: bool = True) -> None:
        """Start the unit, which restarts by itself if `lasting`, also after a power cut. Returns when it serves.

        Without `up`: returns when it answers and its backend does not work. HostFailed where it does not become ready.
        """
        self.agent.put(UNIT_FILE, self._unit().encode())
        self.agent.shell(f"systemctl daemon-reload; systemctl reset-failed {UNIT} 2> /dev/null || true")
        if self.lasting:
            self.agent.shell(f"systemctl -q enable {UNIT} 2> /dev/null; sync")
        self.agent.run("systemctl", "start", UNIT)
        self.wait_ready("up" if up else "down")

    def staying(self) -> list[str]:
        """Files of operations that are not removed in time: an operation removes them shortly after its row's end."""
        end = time.monotonic() + LETTING_GO_SECONDS
        while (left := self._passing_files()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def _passing_files(self) -> list[str]:
        folders = [f"{STATE}/{each}/*" for each in ("locks", "journals", "pool/new")]
        return self.agent.shell(f"ls -d {' '.join(folders)} 2> /dev/null || true").split()

    def _unit(self) -> str:
        variables = [f'Environment="NBDSVC_{key}={value}"' for key, value in self.settings.items()]
        restart = ["Restart=always", "RestartSec=0.5"] if self.lasting else []
        # Exports have scopes of their own: the unit's control group has only the service and its short-lived children.
        lines = [*variables, *restart, "KillMode=control-group", "ExecStart=/usr/local/bin/nbdsvc serve"]
        head = ["[Unit]", "RequiresMountsFor=/opt/nbdsvc", "StartLimitIntervalSec=0", "[Service]"]
        return "\n".join([*head, *lines, "[Install]", "WantedBy=multi-user.target", ""])

    def wait_ready(self, state: str = "up") -> None:
        """Wait until the service serves and its backend has this state.

        HostFailed after READY_SECONDS, with the end of the log.
        """
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                if self.call("GET", "os-services")["services"][0]["state"] == state:
                    return
            except (OSError, IndexError):
                pass
            if time.monotonic() > end:
                raise HostFailed("the service is not ready: " + self.log())
            time.sleep(0.3)

    def kill(self) -> None:
        """SIGKILL of the service's processes; not of its exports, which have scopes of their own."""
        # The pid is compared and not the unit's state, because a unit that restarts is active again at once.
        pid = self.agent.run("systemctl", "show", "--property=MainPID", "--value", UNIT).out.strip()
        self.agent.run("systemctl", "kill", "--signal=KILL", UNIT)
        self.agent.shell(f"while [ {pid} != 0 ] && [ -e /proc/{pid} ]; do sleep 0.1; done")

    def stop(self) -> None:
        """Stop the unit, and wait for its end."""
        self.agent.run("systemctl", "stop", UNIT, check=False)

    def wipe(self) -> None:
        """Remove every trace of a run, before the next one."""
        self.stop()
        self.agent.shell(
            f"systemctl -q disable {UNIT} 2> /dev/null; rm -f {UNIT_FILE}; systemctl daemon-reload", check=False
        )
        self.agent.shell(
            "for unit in $(systemctl list-units --plain --no-legend 'nbdsvc-export-*' | cut -d' ' -f1);"
            f" do systemctl kill --signal=KILL $unit; done; rm -rf {STATE}"
        )

    def log(self, lines: int = 40) -> str:
        """The last lines of the service's log."""
        return self.agent.run("journalctl", "-u", UNIT, "-n", str(lines), "--no-pager", check=False).out

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request as administrator of project rig. Refused for a fault, OSError without an answer."""
        connection = http.client.HTTPConnection(self.agent.host.address, PORT, timeout=120)
        headers = {
            "X-Auth-Token": "rig:rig",
            "Content-Type": "application/json",
            "OpenStack-API-Version": "volume latest",
        }
        try:
            connection.request(method, f"/v3/rig/{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        decoded: Any = json.loads(content) if content else None
        if response.status >= 400:
            raise Refused(response.status, str(next(iter(decoded.values()))["message"]))
        return decoded

    def act(self, noun: str, id: str, action: str, body: Any = None) -> Any:
        """Request an action on a resource. Refused for a fault, OSError without a reply."""
        return self.call("POST", f"{noun}/{id}/action", {action: body or {}})

    def volume(self, **body: Any) -> str:
        """The id of a new volume, once it is available. Refused, or AssertionError where it fails."""
        made = self.call("POST", "volumes", {"volume": {"size": 1, **body}})["volume"]["id"]
        self.settled("volumes", made, "available")
        return str(made)

    def snapshot(self, volume: str) -> str:
        """The id of a new snapshot, once it is available. Refused, or AssertionError where it fails."""
        made = self.call("POST", "snapshots", {"snapshot": {"volume_id": volume, "force": True}})["snapshot"]["id"]
        self.settled("snapshots", made, "available")
        return str(made)

    def status(self, noun: str, id: str) -> str:
        """The row's status; "gone" without one."""
        try:
            return str(self.call("GET", f"{noun}/{id}")[noun.rstrip("s")]["status"])
        except Refused as error:
            if error.status == 404:
                return "gone"
            raise

    def settled(self, noun: str, id: str, wanted: str, seconds: float = 60) -> None:
        """Wait for a status, at most `seconds`. AssertionError after that, or when the resource has an error status."""
        end = time.monotonic() + seconds
        while (found := self.status(noun, id)) != wanted:
            if time.monotonic() > end or found.startswith("error"):
                reason = self.call("GET", f"messages?resource_uuid={id}")["messages"][:1]
                raise AssertionError(f"{noun} {id} is {found} and not {wanted}: {reason}")
            time.sleep(0.1)

    def delete(self, noun: str, id: str) -> None:
        """Delete a resource, and wait until it is gone. Refused, or AssertionError where it stays."""
        self.call("DELETE", f"{noun}/{id}")
        if noun != "attachments":
            self.settled(noun, id, "gone")


def disconnect_all(agent: Agent) -> None:
    """Disconnect every device of the product on an initiator, left by an earlier test."""
    agent.shell(
        "umount -A /mnt/* 2> /dev/null || true; for d in /sys/block/nbd*; do"
        " [ ! -e $d/pid ] || nbd-client -d /dev/${d##*/}; done; losetup -nlO NAME,BACK-FILE | while read device file; do"
        " case $file in /run/nbdsvc/attached/*) losetup -d $device; umount -l $file;; esac; done; rm -rf /run/nbdsvc/attached"
    )


class Initiator:
    """A host that attaches volumes with `nbdsvc attach`, as a user does it."""

    def __init__(self, agent: Agent, service: Service, patience: float = 120) -> None:
        """patience: seconds that a command may take."""
        self.agent = agent
        self._patience = patience
        self._env = {"NBDSVC_ENDPOINT": f"http://{service.agent.host.address}:{PORT}/v3", "NBDSVC_PROJECT": "rig"}

    def nbdsvc(self, *arguments: str, check: bool = True) -> Any:
        """Run `nbdsvc` on the host. HostFailed where it fails, unless `check` is False."""
        return self.agent.run("nbdsvc", *arguments, check=check, timeout=self._patience, **self._env)

    def attach(self, volume: str, *options: str) -> str:
        """Attach a volume; the path of its device. HostFailed where that fails."""
        return str(self.nbdsvc("attach", *options, volume).out.strip())

    def detach(self, volume: str, *options: str) -> None:
        """Detach a volume. HostFailed where that fails."""
        self.nbdsvc("detach", *options, volume)

    def write(self, device: str, offset: int, content: bytes) -> None:
        """Write bytes at an offset in bytes, through the page cache and flushed. HostFailed for an I/O error."""
        self.agent.python(_WRITE, device=device, offset=offset, content=content.hex())

    def digest(self, device: str, offset: int, length: int) -> str:
        """The sha256 of `length` bytes of the device, read past the page cache. HostFailed for an I/O error."""
        return str(self.agent.python(_DIGEST, device=device, offset=offset, length=length))


_WRITE = """
import os
def main(device, offset, content):
    fd = os.open(device, os.O_WRONLY)
    try:
        content = memoryview(bytes.fromhex(content))
        while content:
            done = os.pwrite(fd, content, offset)
            content, offset = content[done:], offset + done
        os.fsync(fd)
    finally:
        os.close(fd)
"""
_DIGEST = """
import hashlib, mmap, os
def main(device, offset, length):
    digest, fd, block = hashlib.sha256(), os.open(device, os.O_RDONLY | os.O_DIRECT), 1 << 20
    buffer = mmap.mmap(-1, block)
    try:
        while length:
            wanted = min(block, length)
            got = os.preadv(fd, [memoryview(buffer)[:-(-wanted // 4096) * 4096]], offset)
            got = min(got, wanted)
            if not got:
                raise EOFError(f"{device} ends at {offset}")
            digest.update(buffer[:got])
            offset, length = offset + got, length - got
    finally:
        os.close(fd)
    return digest.hexdigest()
"""
