"""An NBD export as a block device without the kernel's nbd module: nbdfuse shows it as a file, a loop device on that.

Direct I/O on the loop device is worth 2.7 to 5 times its speed, and keeps one page cache where there would be two. This
is also the way for an export with TLS, which the kernel's client cannot do.
"""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbdsvc import errors, process
from nbdsvc.connectors.attached import Attached, is_nbd

# nbdfuse connects before it mounts: a server that lives is there long before this.
MOUNT_SECONDS = 15.0
POLL_SECONDS = 0.02


class FuseLoop:
    """See Kind in nbdsvc/connectors/attached.py."""

    name = "FUSE + loop"
    growth = "detach it and attach it again"  # nbdfuse asks for the size when it connects, and never again

    def __init__(self, runner: process.Runner) -> None:
        self._runner = runner

    def serves(self, info: dict[str, Any]) -> bool:
        return is_nbd(info) and Path("/dev/fuse").exists()

    def connect(self, home: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        mounted = home / "nbd"
        mounted.touch()
        pid = self._mount(home, mounted, _server(home, info))
        try:
            read_only = ["--read-only"] if info.get("access_mode") == "ro" else []
            argv = ["losetup", "--find", "--show", "--direct-io=on", *read_only, str(mounted)]
            device = self._runner.run(argv, tries=1).stdout.strip()
        except errors.Error:
            self._unmount(mounted, pid)
            raise
        return device, {"mountpoint": str(mounted), "pid": pid}

    def noted(self, folder: Path) -> None:
        """Nothing: nbdfuse ends when its server does, and the device with it."""

    def disconnect(self, home: Path, attached: Attached) -> None:
        if _backing(attached.device):
            self._runner.run(["losetup", "--detach", attached.device], tries=1)
        _until(lambda: not _backing(attached.device), attached.device, "its loop device stays busy")
        self._unmount(Path(attached.details["mountpoint"]), attached.details["pid"])

    def _mount(self, home: Path, mounted: Path, server: list[str]) -> int:
        """Start nbdfuse with a session of its own; its pid file says that it serves."""
        pidfile, log = home / "pid", home / "log"
        pidfile.unlink(missing_ok=True)
        with log.open("wb") as output:
            argv = [process.resolve("nbdfuse"), "-P", str(pidfile), str(mounted), *server]
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        end = time.monotonic() + MOUNT_SECONDS
        while not (pidfile.exists() and pidfile.read_text().strip() and _is_there(mounted)):
            if child.poll() is not None or time.monotonic() > end:
                child.kill()
                child.wait()
                reason = log.read_text(errors="replace").strip()[-300:] or "nbdfuse did not mount it"
                raise errors.ExportFailed(export=home.name, reason=reason)
            time.sleep(POLL_SECONDS)
        return child.pid

    def _unmount(self, mounted: Path, pid: int) -> None:
        self._runner.run(["fusermount3", "-u", str(mounted)], no_retry=["not found", "not mounted"])
        _until(lambda: not _lives(pid), str(mounted), "nbdfuse does not end")


def _is_there(mounted: Path) -> bool:
    """Whether the mount is, with a size: its inode has none until somebody asks, and a loop device takes what it has."""
    found = mounted.stat()
    return found.st_dev != mounted.parent.stat().st_dev and found.st_size > 0


def _server(home: Path, info: dict[str, Any]) -> list[str]:
    """What nbdfuse connects to. It refuses URIs with tls-psk-file (1.14), so TLS is the business of an nbdkit between."""
    if not info.get("tls"):
        return [str(info["uri"])]
    tls = ["tls=require", f"tls-psk={_key(home, info)}", f"tls-username={info['tls_psk_username']}"]
    where = [f"hostname={info['host']}", f"port={info['port']}", f"export={info['export']}"]
    nbdkit = [process.resolve("nbdkit"), "--exit-with-parent", "nbd", *where, *tls]
    return ["--socket-activation", *nbdkit]


def _key(home: Path, info: dict[str, Any]) -> Path:
    """The key in a file: a key on a command line is everybody's."""
    key = home / "psk"
    fd = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f"{info['tls_psk_username']}:{info['tls_psk_key']}\n")
    return key


def _until(done: Callable[[], bool], device: str, complaint: str) -> None:
    end = time.monotonic() + MOUNT_SECONDS
    while not done():
        if time.monotonic() > end:
            raise errors.DeviceBusy(device=device, reason=complaint)
        time.sleep(POLL_SECONDS)


def _backing(device: str) -> bool:
    return Path(f"/sys/class/block/{Path(device).name}/loop/backing_file").exists()


def _lives(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # another process's child
        return Path(f"/proc/{pid}").exists()
