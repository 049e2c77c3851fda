"""Starts the server of one export: `python -m nbdsvc.exports.launch FOLDER`. Prints the TCP port ("-" without one).

It binds the sockets itself and hands them to nbdkit as systemd would (sd_listen_fds(3)): nbdkit listens on only one of
unix and TCP by itself, and so a port that is taken is found here and not in a log. It makes a daemon with a session of
its own, so that the data plane outlives the service. nbdkit asks the kernel to be killed with its parent when it stays
in the foreground, so the daemon waits until its parent is gone before it becomes nbdkit.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from nbdsvc.exports.folder import ExportFolder, stat_of

# sd_listen_fds(3): the first descriptor that is handed over.
FIRST_FD = 3
# The worker threads of one connection: as deep a queue as block clients use.
THREADS = "16"


def main(argv: list[str]) -> int:
    folder = ExportFolder(Path(argv[-1]).parent, Path(argv[-1]).name)
    spec = json.loads(folder.spec_path.read_text())
    try:
        sockets, port = _listen(folder, spec)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    print(port or "-", flush=True)
    if os.fork():
        return 0
    parent = os.getppid()
    os.setsid()
    if os.fork():
        os._exit(0)
    _until_orphaned(parent)
    _leave_terminal(folder)
    _become_server(folder, spec, sockets)
    return 1


def _until_orphaned(grandparent: int) -> None:
    first_child = os.getppid()
    while os.getppid() == first_child and first_child not in (1, grandparent):
        time.sleep(0.001)


def _listen(folder: ExportFolder, spec: dict[str, Any]) -> tuple[list[socket.socket], int | None]:
    folder.socket.unlink(missing_ok=True)  # a stale one: the caller has made sure that nobody serves it
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o177)
    unix.bind(str(folder.socket))
    unix.listen(64)
    if not spec["tcp"]:
        return [unix], None
    tcp, port = _listen_tcp(spec["host"], spec["ports"], spec.get("port"))
    return [unix, tcp], port


def _listen_tcp(host: str, ports: list[int], wanted: int | None) -> tuple[socket.socket, int]:
    """The port that it had before, if it is free; else the first free one of the range."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ([wanted] if wanted else []) + list(range(ports[0], ports[1] + 1)):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind((host, port))
            tcp.listen(64)
        except OSError as error:
            tcp.close()
            if error.errno not in (98, 13):  # EADDRINUSE, EACCES: try the next one
                raise
        else:
            return tcp, port
    raise OSError(98, f"no free port on {host} between {ports[0]} and {ports[1]}")


def _leave_terminal(folder: ExportFolder) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(folder.path / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, fd in ((0, null), (1, log), (2, log)):
        os.dup2(fd, target)


def _become_server(folder: ExportFolder, spec: dict[str, Any], sockets: list[socket.socket]) -> None:
    # Out of the way first: a socket may itself be descriptor 3 or 4.
    moved = [os.dup(sock.fileno()) for sock in sockets]
    high = [_dup_above(fd, FIRST_FD + len(moved)) for fd in moved]
    for index, fd in enumerate(high):
        os.dup2(fd, FIRST_FD + index, inheritable=True)
    os.closerange(FIRST_FD + len(sockets), 1024)
    pid = os.getpid()
    (folder.path / "process").write_text(f"{pid} {stat_of(pid)[1]}")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": spec["pythonpath"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "LISTEN_PID": str(pid),
        "LISTEN_FDS": str(len(sockets)),
    }
    os.chdir("/")
    os.execve(spec["nbdkit"], _arguments(folder, spec), environment)


def _dup_above(fd: int, lowest: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD, lowest)


def _arguments(folder: ExportFolder, spec: dict[str, Any]) -> list[str]:
    tls = [f"--tls-psk={folder.psk_path}", "--tls=require"] if spec["tls"] else ["--tls=off"]
    filters = [f"--filter={name}" for name in spec["filters"]]
    return [
        "nbdkit",
        "--threads",
        THREADS,
        *(["--readonly"] if spec["read_only"] else []),
        *tls,
        *filters,
        "python",
        str(Path(__file__).with_name("plugin.py")),
        f"spec={folder.spec_path}",
        *spec["filter_args"],
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
