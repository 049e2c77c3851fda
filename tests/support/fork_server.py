"""A process that has loaded the service's modules and forks a service for each request, which spares most of a start.

Its standard input is a socket of packets; a packet is the service's environment as JSON, with two descriptors: the log and
a socket of the service's own, to which a minder writes the service's pid and, when it has ended, its exit status.
"""

import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

# An environment is a few kilobytes.
PACKET = 1 << 17


def load() -> None:
    """What a service loads, in each of its roles, when it starts and when a resource is first requested."""
    import crashing  # noqa: F401
    import psycopg  # noqa: F401
    import uvicorn  # noqa: F401

    import nbdsvc.api.auth
    import nbdsvc.api.server
    import nbdsvc.cli.bounded_http
    import nbdsvc.cli.http_server
    import nbdsvc.service  # noqa: F401
    from nbdsvc.api.resources import MODULES

    for name in {each for names in MODULES.values() for each in names}:
        importlib.import_module(f"nbdsvc.api.{name}")


def serve() -> None:
    """Until the other end of the socket is closed."""
    control = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for a minder
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, PACKET, 2)
        if not packet:
            return
        if os.fork() == 0:
            control.close()
            mind(json.loads(packet), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def mind(environment: dict[str, str], log: int, answers: int) -> None:
    """Fork the service, and tell its pid and how it ends. Does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        be_service(environment, log)
    os.write(answers, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def be_service(environment: dict[str, str], log: int) -> None:
    """Become the program of crashing.py. Does not return."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(environment)
    _run_to_exit()


def _run_to_exit() -> Any:
    import crashing

    status: Any = 0
    try:
        crashing.main()
    except SystemExit as exit:
        status = exit.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    load()
    serve()
