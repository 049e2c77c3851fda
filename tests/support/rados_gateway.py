"""A real S3 server: radosgw of Debian's Ceph on a cluster of one mon and one osd, on 127.0.0.1 only, without systemd.

It takes some 6 s and 200 MiB of memory. What makes it small: all keys are put into the mon's first database, pools of one
replica, no mgr (which only statistics need), daemons that go to the background by themselves once they serve.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbdsvc.backup_store.s3 import S3Store
from nbdsvc.backup_store.s3_client import S3Place

# Seconds for everything of a start.
START_SECONDS = 120
_OSD_BYTES = 8 << 30  # sparse
_CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}/0]
public network = 127.0.0.0/8
ms bind port min = {first}
ms bind port max = {last}
ms bind msgr1 = false
keyring = {folder}/keyring
run dir = {folder}
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
log file = {folder}/$name.log
crash dir = {folder}
log to stderr = false
debug default = 0/0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
auth allow insecure global id reclaim = false
[client]
admin socket =
log file =
pid file =
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{http} tcp_nodelay=1
rgw thread pool size = 32
rgw data = {folder}
rgw gc obj min wait = 1
log file = {folder}/rgw.log
pid file = {folder}/client.rgw.pid
[mon]
mon data = {folder}/mon.$id
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.05
[osd]
osd client watch timeout = 3
osd data = {folder}/osd.$id
osd memory target = 939524096
bluestore block size = {osd}
bluestore block wal create = false
bluestore block db create = false
bluestore cache autotune = false
bluestore cache size = 67108864
bluestore fsck on mount = false
"""


def _free_ports(count: int) -> int:
    """The first of so many ports in a row that are free now, below those that the kernel gives to clients."""
    for _try in range(200):
        first = 10000 + secrets.randbelow(20000)
        held: list[socket.socket] = []
        with suppress(OSError):
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
        for each in held:
            each.close()
        if len(held) == count:
            return first
    raise AssertionError("no ports are free")


class RadosGateway:
    """The server, with one user and as many buckets as tests want."""

    def __init__(self) -> None:
        assert shutil.which("radosgw"), "radosgw is not installed (Debian packages radosgw, ceph-mon, ceph-osd)"
        self.folder = Path(tempfile.mkdtemp(prefix="rgw-", dir="/var/tmp"))
        self.access, self.secret = "AK" + secrets.token_hex(8), secrets.token_hex(16)
        self._end = time.monotonic() + START_SECONDS
        self._count = 0
        port = _free_ports(12)
        self.port = port + 11
        text = _CONF.format(folder=self.folder, port=port, first=port + 1, last=port + 10, http=self.port,
                            fsid=_uuid(), osd=_OSD_BYTES)  # fmt: skip
        self.conf = self.folder / "ceph.conf"
        self.conf.write_text(text)
        try:
            self._make(port)
        except BaseException:
            self.stop()
            raise

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _make(self, port: int) -> None:
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        self._key("mon.", "--cap", "mon", "allow *")
        self._key("client.admin", *everything)
        self._key("osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *")
        self._key("client.rgw", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx")
        fsid = self.conf.read_text().split("fsid = ")[1].split()[0]
        monmap = self.folder / "monmap"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}/0]", str(monmap))
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap), "--keyring", str(self.folder / "keyring"))
        self._run("ceph-mon", "-i", "a")
        uuid = _uuid()
        (self.folder / "osd.0").mkdir()
        self._run("ceph", "osd", "new", uuid, "0")
        key = self._run("ceph-authtool", str(self.folder / "keyring"), "-n", "osd.0", "-p").strip()
        self._run("ceph-osd", "-i", "0", "--mkfs", "--key", key, "--osd-uuid", uuid)
        self._run("ceph-osd", "-i", "0")
        self.admin("user", "create", "--uid=tester", "--display-name=tester", f"--access-key={self.access}",
                   f"--secret-key={self.secret}")  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the gateway, which was not started or was killed; returns when it answers."""
        self._end = time.monotonic() + START_SECONDS
        self._run("radosgw", "-n", "client.rgw")
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert time.monotonic() < self._end, (self.folder / "rgw.log").read_text()[-2000:]
            time.sleep(0.05)

    def kill(self, name: str = "client.rgw") -> None:
        """SIGKILL of the gateway: what it had not answered may have happened or not."""
        self._signal(name, signal.SIGKILL)

    def pause(self) -> None:
        """Let it keep its connections and answer nothing."""
        os.kill(self._pid("client.rgw") or 0, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid("client.rgw") or 0, signal.SIGCONT)

    def admin(self, *arguments: str) -> str:
        """radosgw-admin."""
        return self._run("radosgw-admin", *arguments)

    def client(self) -> Any:
        """A client of its own, for what tests do behind the service's back."""
        from botocore.config import Config
        from botocore.session import Session

        config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        return Session().create_client("s3", region_name="us-east-1", endpoint_url=self.endpoint, config=config,
                                       aws_access_key_id=self.access, aws_secret_access_key=self.secret)  # fmt: skip

    def bucket(self) -> str:
        """A new bucket."""
        self._count += 1
        name = f"bucket{self._count}-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name)
        return name

    def credentials(self, folder: Path, secret: str = "") -> Path:
        """A file with the credentials; secret: another one, which is wrong."""
        return write_credentials(folder / "credentials", self.access, secret or self.secret)

    def place(self, folder: Path, bucket: str, prefix: str = "", **given: Any) -> S3Place:
        return S3Place(bucket, prefix, self.credentials(folder), **{"endpoint": self.endpoint, "timeout": 10, **given})

    def store(self, folder: Path, bucket: str, prefix: str = "", **given: Any) -> S3Store:
        """A store as one host has it whose state folder this is."""
        folder.mkdir(parents=True, exist_ok=True)
        return S3Store(self.place(folder, bucket, prefix, **given), folder / "note.json")

    def settings(self, folder: Path, bucket: str, prefix: str = "") -> dict[str, object]:
        """Of a service whose backups are there."""
        folder.mkdir(parents=True, exist_ok=True)
        place = f"s3://{bucket}/{prefix}".rstrip("/")
        return {"backup_store": place, "backup_s3_endpoint": self.endpoint, "backup_s3_timeout": 10,
                "backup_s3_credentials_file": self.credentials(folder)}  # fmt: skip

    def keys(self, bucket: str) -> set[str]:
        """All objects of a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"] for page in pages for each in page.get("Contents", ())}

    def stop(self) -> None:
        for name in ("client.rgw", "osd.0", "mon.a"):
            self._signal(name, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, name: str, number: int) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        os.kill(pid, number)
        end = time.monotonic() + 30
        while self._pid(name) is not None:
            assert time.monotonic() < end, name
            time.sleep(0.01)
        (self.folder / f"{name}.pid").unlink(missing_ok=True)

    def _pid(self, name: str) -> int | None:
        """Of a daemon that is ours and lives."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()  # of a zombie it is empty
        except (OSError, ValueError):
            return None
        return pid if str(self.conf).encode() in command else None

    def _key(self, name: str, *capabilities: str) -> None:
        ring = self.folder / "keyring"
        self._run(
            "ceph-authtool", *([] if ring.exists() else ["-C"]), str(ring), "--gen-key", "-n", name, *capabilities
        )

    def _run(self, *command: str) -> str:
        own = [] if command[0] in ("ceph-authtool", "monmaptool") else ["-c", str(self.conf)]
        environment = {**os.environ, "CEPH_CONF": str(self.conf), "CEPH_ARGS": ""}
        left = max(1.0, self._end - time.monotonic()) if command[0] != "radosgw-admin" else 60
        ran = subprocess.run([*command, *own], env=environment, capture_output=True, text=True, timeout=left)
        assert ran.returncode == 0, (command[:4], ran.stdout[-500:], ran.stderr[-2000:])
        return ran.stdout


def write_credentials(path: Path, access: str, secret: str) -> Path:
    path.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    path.chmod(0o600)
    return path


def _uuid() -> str:
    return Path("/proc/sys/kernel/random/uuid").read_text().strip()
