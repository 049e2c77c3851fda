"""Starts the server of one export: `launch.py FOLDER HOST PORTS PYTHONPATH keep.sh NBDKIT ...`. Prints the TCP port, or "-".

HOST, PORTS: for TCP, see command.py; PORTS is "-" for the unix socket alone.

This program binds the sockets itself and passes them to nbdkit like systemd (sd_listen_fds(3)), because nbdkit alone
listens on only one of unix and TCP, and because a port in use is then an error of this program and not a line in a log.
The server is a daemon in a session of its own, so that it outlives the service. In the foreground, nbdkit has itself
killed when its parent ends; so the daemon waits until its parent has ended before it executes nbdkit.

Every attach waits for this program, and half of its time was the import of pathlib, json, re and typing. So it imports
none of them; command.py makes the decisions that need them.
"""

import fcntl
import os
import resource
import socket
import sys
import time

# A file in the export's folder (processes.py, which this program does not import).
SERVED = "served"
# sd_listen_fds(3): the first descriptor that is passed.
FIRST_FD = 3
# Bytes of a server's data: eight connections whose threads all hold a request of the largest advertised size
# (plugin.py) need 512 MiB. Without a limit, clients that send larger requests, or do not read replies, would use
# gigabytes.
MEMORY_MAX = 768 << 20
# Bytes of a thread's stack: small, because a connection has seventeen threads; the plugin's calls are not deep.
THREAD_STACK = 1 << 20


def main(argv: list[str]) -> int:
    """The exit status: 0 when the sockets listen, and the server runs; 1, with a line on stderr, when they cannot."""
    folder, host, ports, pythonpath, *server = argv
    try:
        sockets, port = _listen(folder, host, ports)
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
    _become_server(folder, pythonpath, server, sockets)
    return 1


def _until_orphaned(grandparent: int) -> None:
    first_child = os.getppid()
    # No deadline: the parent's next call is _exit, and a daemon that goes on earlier would be killed.
    while os.getppid() == first_child and first_child not in (1, grandparent):
        time.sleep(0.001)


def _listen(folder: str, host: str, ports: str) -> tuple[list[socket.socket], int | None]:
    path = f"{folder}/nbd.sock"
    if os.path.lexists(path):  # a stale socket: the caller has ended every server of the export
        os.unlink(path)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.umask(0o177)
    unix.bind(path)
    unix.listen(64)
    if ports == "-":
        return [unix], None
    tcp = _listen_tcp(host, ports)
    return [unix, tcp], int(tcp.getsockname()[1])


def _listen_tcp(host: str, ports: str) -> socket.socket:
    """A socket on the first free port of FIRST-LAST,... or on the initiator's port. OSError when none is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in _each(ports):
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
    if ports.isdigit():
        raise OSError(98, f"port {ports} on {host}, which its initiator has, is in use")
    raise OSError(98, f"no free port on {host} among those that no other export has ({ports})")


def _each(ports: str) -> list[int]:
    ranges = [part.partition("-") for part in ports.split(",") if part]
    return [port for first, _, last in ranges for port in range(int(first), int(last or first) + 1)]


def _leave_terminal(folder: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(f"{folder}/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, fd in ((0, null), (1, log), (2, log)):
        os.dup2(fd, target)


def _become_server(folder: str, pythonpath: str, server: list[str], sockets: list[socket.socket]) -> None:
    # The sockets are first duplicated to higher numbers, because one may have descriptor 3 or 4 itself.
    moved = [os.dup(sock.fileno()) for sock in sockets]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_FD + len(moved)) for fd in moved]
    for index, fd in enumerate(high):
        os.dup2(fd, FIRST_FD + index, inheritable=True)
    os.dup2(_locked(f"{folder}/{SERVED}"), FIRST_FD + len(sockets), inheritable=True)
    os.closerange(FIRST_FD + len(sockets) + 1, 1024)
    _note_process(folder)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": pythonpath,
        "PYTHONDONTWRITEBYTECODE": "1",
        # With an arena for each thread, glibc would keep the memory of each thread's largest request.
        "MALLOC_ARENA_MAX": "2",
        "LISTEN_FDS": str(len(sockets)),
    }
    os.chdir("/")
    _set_limits()
    os.execve("/bin/sh", ["sh", *server], environment)


def _locked(path: str) -> int:
    """A descriptor with a shared lock on the file, which all processes of the server inherit.

    Open for as long as one of them lives (flock(2)): so a lock that is free says that none is left.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def _note_process(folder: str) -> None:
    """Write pid and start time (proc(5), /proc/PID/stat) of this process, which becomes the keeping shell."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        started = file.read().rpartition(")")[2].split()[19]
    fd = os.open(f"{folder}/process", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, f"{os.getpid()} {started}".encode())
    os.close(fd)


def _set_limits() -> None:
    """Set the limits of a server: beyond them a request fails with ENOMEM, or a connection ends.

    Descriptors up to the hard limit: a server that cannot accept a connection would retry in a busy loop.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_STACK, (THREAD_STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
