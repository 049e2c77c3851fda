"""An NBD export as a block device without the kernel's nbd module: nbdfuse shows it as a file for a loop device.

The loop device uses direct I/O, which is 2.7 to 5 times as fast as buffered I/O and caches pages once and not twice. An
export with TLS is also attached by this transport, because the kernel's client cannot do TLS.
"""

import contextlib
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbdsvc import errors, process
from nbdsvc.connectors import dial, loop_device, nbd_agent, server_file
from nbdsvc.connectors.attachment_store import Attached, is_nbd, size_of
from nbdsvc.connectors.device_wait import await_device
from nbdsvc.datapath import source as sources
from nbdsvc.model import names
from nbdsvc.polling import wait_until

# In isolated mode (-I) without site (-S), Python starts 40 ms faster.
_DIAL = "import sys; sys.path.insert(0, sys.argv[1]); from nbdsvc.connectors import dial; dial.main(sys.argv[2:])"
# nbdfuse connects to the server before it mounts; with a running server the mount takes much less time than this.
MOUNT_SECONDS = 15.0


class FuseLoop:
    """A Transport (attachment_store.py): nbdfuse and a loop device."""

    name = "FUSE + loop"
    grows = True
    growth = "detach it and attach it again"

    def __init__(self, runner: process.Runner) -> None:
        self._runner = runner

    def serves(self, info: dict[str, Any]) -> bool:
        """Whether the export is NBD, with or without TLS, and this host has FUSE."""
        return is_nbd(info) and Path("/dev/fuse").exists()

    def connect(self, work_dir: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Mount the export and attach a loop device to it. Raises ExportFailed and CommandFailed.

        nbdfuse cannot change the size of its file. So the file is larger than any volume, and the loop device limits it
        to the volume's size.
        """
        mounted = work_dir / "nbd"
        mounted.touch()
        server = _server(work_dir, info)
        uri = _sized(work_dir, info)
        _volume_size(uri)  # a server that cannot be reached now is an error, and not waited for
        pid = self._mount(work_dir, mounted, server)
        try:
            read_only = info.get("access_mode") == "ro"
            device = loop_device.attach(self._runner, mounted, _volume_size(uri), read_only=read_only)
        except BaseException:
            self._unmount(mounted, pid)
            raise
        number = loop_device.sequence(device)
        return device, {"mountpoint": str(mounted), "pid": pid, "sized": uri, "sequence": number}

    def on_recorded(self, folder: Path) -> None:
        """Start the agent, which resizes the device. Over the network, its client connects again by itself (dial.py); a
        client of a unix socket is one of the server's host, and nbdfuse ends with its server there.
        """
        nbd_agent.ensure_running(folder)

    def owns(self, attached: Attached) -> bool:
        """Whether the loop device still shows nbdfuse's file."""
        return loop_device.is_attached(*_loop(attached))

    def give_up(self, attached: Attached) -> None:
        """Kill nbdfuse with its nbdkit and dial.py, which are of its process group, unless it has ended already. The kernel
        then fails what waits, because no other process has this mount's /dev/fuse open.
        """
        pid = attached.details["pid"]
        with contextlib.suppress(ProcessLookupError):
            if _lives(pid, Path(attached.details["mountpoint"])):
                os.killpg(pid, signal.SIGKILL)

    def disconnect(self, work_dir: Path, attached: Attached) -> None:
        """Detach the loop device, unmount the file, wait for nbdfuse to end. DeviceBusy where one takes too long."""
        loop_device.detach(*_loop(attached))
        await_device(lambda: not self.owns(attached), attached.device, "its loop device stays busy", MOUNT_SECONDS)
        self._unmount(Path(attached.details["mountpoint"]), attached.details["pid"])

    def _mount(self, work_dir: Path, mounted: Path, server: list[str]) -> int:
        """Start nbdfuse in a session of its own and wait until the file is mounted; its pid. Raises ExportFailed."""
        pidfile, log = work_dir / "pid", work_dir / "log"
        pidfile.unlink(missing_ok=True)
        with log.open("wb") as output:
            argv = [process.resolve("nbdfuse"), "-P", str(pidfile), str(mounted), *server]
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            wait_until(lambda: child.poll() is not None or _is_there(pidfile, mounted), MOUNT_SECONDS)
            if child.poll() is not None or not _is_there(pidfile, mounted):
                reason = log.read_text(errors="replace").strip()[-300:] or "nbdfuse did not mount it"
                raise errors.ExportFailed(export=work_dir.name, reason=reason)
        except BaseException:
            child.kill()
            self._unmount(mounted, child.pid)
            raise
        return child.pid

    def _unmount(self, mounted: Path, pid: int) -> None:
        """Unmount; no error where nbdfuse and its mount are gone already. DeviceBusy when nbdfuse does not end."""
        try:
            self._runner.run(
                ["fusermount3", "-u", str(mounted)], no_retry=["not found", "not mounted", "Invalid argument"]
            )
        except errors.CommandFailed:
            if _is_mounted(mounted):
                raise
        await_device(lambda: not _lives(pid, mounted), str(mounted), "nbdfuse does not end", MOUNT_SECONDS)


def _is_mounted(path: Path) -> bool:
    """Whether mountinfo (fifth field: mount point) lists the path. stat would fail when nbdfuse has ended."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(path) in {line.split()[4].replace("\\040", " ") for line in mounts}


def _is_there(pidfile: Path, mounted: Path) -> bool:
    """Whether the file is mounted and has its size. The loop device needs the size, which the inode gets by a stat."""
    if not (pidfile.exists() and pidfile.read_text().strip()):
        return False
    found = mounted.stat()
    return found.st_dev != mounted.parent.stat().st_dev and found.st_size > 0


def grow(attached: Attached) -> int | None:
    """Give the device the size of its volume; the new size in bytes, or None when it has not grown.

    Raises ReadFailed, and OSError: EAGAIN while the kernel writes pages of the device; the caller then tries again.
    """
    uri = _now_at(attached) or attached.details.get("sized")
    size = _volume_size(uri) if uri and loop_device.is_attached(*_loop(attached)) else 0
    if size <= size_of(attached.device):
        return None
    loop_device.set_size(attached.device, size)
    return size


def _now_at(attached: Attached) -> str | None:
    """The URI of the export, where dial.py keeps it."""
    file = Path(attached.details["mountpoint"]).with_name(server_file.NAME)
    return server_file.read(str(file)).uri if file.exists() else None


def _loop(attached: Attached) -> tuple[str, str, int | None]:
    """The arguments of loop_device.is_attached; records of older versions have no sequence number."""
    return attached.device, attached.details["mountpoint"], attached.details.get("sequence")


def _volume_size(uri: str) -> int:
    with sources.open_nbd(uri, connections=1) as export:
        return export.size


def _sized(work_dir: Path, info: dict[str, Any]) -> str:
    """The URI of the export under the name that reports the volume's size. The pre-shared key is given as a file."""
    uri = str(info["uri"])
    return f"{uri}?tls-psk-file={quote(str(work_dir / 'psk'))}" if info.get("tls") else uri


def _server(work_dir: Path, info: dict[str, Any]) -> list[str]:
    """The arguments by which nbdfuse connects. Over the network through an nbdkit, which connects again when the connection
    has ended, and finds the volume that went to another host; and because nbdfuse 1.14 refuses tls-psk-file.
    """
    growing = names.growing_name(info["export"])
    if info.get("unix_socket"):
        server, _, export = str(info["uri"]).rpartition("/" + quote(str(info["export"])))
        return [f"{server}/{quote(growing)}{export}"]
    return ["--socket-activation", *following(work_dir, info, dial.EXIT_WITH_PARENT)]


def following(work_dir: Path, info: dict[str, Any], *options: str) -> list[str]:
    """The command of an nbdkit that serves the export of these connection data, wherever it is: dial.py finds it."""
    key = str(_key(work_dir, info)) if info.get("tls") else ""
    file = work_dir / server_file.NAME
    server_file.write(str(file), server_file.Server(str(info["uri"]), str(info["export"]), key))
    (work_dir / dial.SOCKET).unlink(missing_ok=True)
    root = str(Path(__file__).resolve().parents[2])
    tls = ["tls=require", f"tls-psk={key}", f"tls-username={info['tls_psk_username']}"] if key else []
    plugin = [
        "nbd",
        f"export={names.growing_name(info['export'])}",
        *tls,
        f"reconnect-seconds={dial.RECONNECT_SECONDS}",
    ]
    nbdkit = [process.resolve("nbdkit"), *options, f"--filter={reconnect_filter()}", *plugin]
    return [sys.executable, "-I", "-S", "-c", _DIAL, root, process.resolve("nbdinfo"), str(file), *nbdkit]


def reconnect_filter() -> str:
    """The path of nbdkit's filter `reconnect` (native/nbdkit/), which is installed beside the C core."""
    found = find_spec("nbdsvc._reconnect")
    assert found and found.origin, "the package was built without its C parts"
    return found.origin


def _key(work_dir: Path, info: dict[str, Any]) -> Path:
    """The file of the pre-shared key, now written: on a command line, every user of the host could read the key."""
    key = work_dir / "psk"
    fd = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f"{info['tls_psk_username']}:{info['tls_psk_key']}\n")
    return key


def _lives(pid: int, mounted: Path) -> bool:
    """Whether nbdfuse runs: the pid's arguments have this path. A later process with the same pid has others."""
    with contextlib.suppress(ChildProcessError):  # another process started nbdfuse
        os.waitpid(pid, os.WNOHANG)
    try:
        return os.fsencode(mounted) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
