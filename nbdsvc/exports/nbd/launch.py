"""Starts the server of one export: `python -m nbdsvc.exports.nbd.launch FOLDER`. Prints the TCP port ("-" without one).

It binds the sockets itself and hands them to nbdkit as systemd would (sd_listen_fds(3)): nbdkit listens on only one of
unix and TCP by itself, and so a port that is taken is found here and not in a log. It makes a daemon with a session of
its own, so that the data plane outlives the service. nbdkit asks the kernel to be killed with its parent when it stays
in the foreground, so the daemon waits until its parent is gone before it becomes nbdkit.
"""

import json
import os
import resource
import socket
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from nbdsvc.exports.nbd.processes import KEEPER
from nbdsvc.exports.nbd.state_dir import StateDir

# sd_listen_fds(3): the first descriptor that is handed over.
FIRST_FD = 3
# The worker threads of one connection: as deep a queue as block clients use.
THREADS = "16"
# Bytes of data of one server: eight connections whose threads all hold a request of the largest size that exports ask for
# (plugin.py) take 512 MiB. Clients that send larger ones, or do not read their answers, would take gigabytes.
MEMORY_MAX = 768 << 20
# Bytes of a thread's stack: the plugin's calls are shallow, and a connection has seventeen threads.
THREAD_STACK = 1 << 20


def main(argv: list[str]) -> int:
    folder = StateDir(Path(argv[-1]).parent, Path(argv[-1]).name)
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
    # Without a deadline: what it waits for is an _exit that nothing stands before, and to go on earlier is to be killed.
    while os.getppid() == first_child and first_child not in (1, grandparent):
        time.sleep(0.001)


def _listen(folder: StateDir, spec: dict[str, Any]) -> tuple[list[socket.socket], int | None]:
    folder.socket.unlink(missing_ok=True)  # a stale one: the caller has made sure that no server has it
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o177)
    unix.bind(str(folder.socket))
    unix.listen(64)
    if not spec["tcp"]:
        return [unix], None
    tcp = _listen_tcp(spec["host"], _ports(folder, spec))
    if tcp is None and spec.get("port"):
        raise OSError(98, f"port {spec['port']} on {spec['host']}, which its initiator has, is in use")
    if tcp is None:
        raise OSError(98, f"no free port on {spec['host']} between {spec['ports'][0]} and {spec['ports'][1]}")
    return [unix, tcp], int(tcp.getsockname()[1])


def _ports(folder: StateDir, spec: dict[str, Any]) -> list[int]:
    """The one that it had, since its initiator knows no other; else those of the range that no other export has.

    An export whose server died has its port until it is removed: its initiator will come back there, and must not find
    another volume's server, which would send it away again and again. Where the range is begun differs by export, so that two
    services of one host that share a range, and cannot know of each other's dead servers, hardly ever meet.
    """
    if spec.get("port"):
        return [spec["port"]]
    others = (StateDir(folder.path.parent, path.name).read() for path in folder.path.parent.iterdir())
    recorded = {other.get("port") for other in others if other}
    first, last = spec["ports"]
    begin = zlib.crc32(folder.id.encode()) % (last - first + 1)
    ports = [*range(first + begin, last + 1), *range(first, first + begin)]
    return [port for port in ports if port not in recorded]


def _listen_tcp(host: str, ports: list[int]) -> socket.socket | None:
    """On the first of these that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
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
            return tcp
    return None


def _leave_terminal(folder: StateDir) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(folder.path / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, fd in ((0, null), (1, log), (2, log)):
        os.dup2(fd, target)


def _become_server(folder: StateDir, spec: dict[str, Any], sockets: list[socket.socket]) -> None:
    # Out of the way first: a socket may itself be descriptor 3 or 4.
    moved = [os.dup(sock.fileno()) for sock in sockets]
    high = [_dup_above(fd, FIRST_FD + len(moved)) for fd in moved]
    for index, fd in enumerate(high):
        os.dup2(fd, FIRST_FD + index, inheritable=True)
    os.closerange(FIRST_FD + len(sockets), 1024)
    folder.note_process(os.getpid())
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": spec["pythonpath"],
        "PYTHONDONTWRITEBYTECODE": "1",
        # Memory that one thread gave back is another's: an arena a thread would keep the largest request of each.
        "MALLOC_ARENA_MAX": "2",
        "LISTEN_FDS": str(len(sockets)),
    }
    os.chdir("/")
    _set_limits()
    os.execve("/bin/sh", ["sh", str(Path(__file__).with_name(KEEPER)), *_arguments(folder, spec)], environment)


def _set_limits() -> None:
    """Set the limits of a server: beyond them a request fails with ENOMEM, or a connection ends.

    As many descriptors as this host allows: a connection that cannot be accepted would keep the server busy with failing.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_STACK, (THREAD_STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _dup_above(fd: int, lowest: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD, lowest)


def _arguments(folder: StateDir, spec: dict[str, Any]) -> list[str]:
    tls = [f"--tls-psk={folder.psk_path}", "--tls=require"] if spec["tls"] else ["--tls=off"]
    filters = [f"--filter={name}" for name in spec["filters"]]
    return [
        spec["nbdkit"],
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
