"""The command that starts the server of an export: the ports that it may use, and the arguments of nbdkit."""

import os
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nbdsvc.exports.nbd import ciphers
from nbdsvc.exports.nbd.processes import KEEPER
from nbdsvc.exports.nbd.state_dir import StateDir

# The worker threads of one connection, as many as the usual queue depth of block clients.
THREADS = "16"
# In isolated mode (-I) without site (-S), Python starts 40 ms faster.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from nbdsvc.exports.nbd import launch; "
    "sys.exit(launch.main(sys.argv[2:]))"
)


def launch_command(state: StateDir, spec: dict[str, Any]) -> list[str]:
    """The arguments of launch.py for this export, whose folder has its spec and its key."""
    ports = ports_of(state, spec) if spec["tcp"] else "-"
    listen = [spec["host"] or "", ports, spec["pythonpath"]]
    return [sys.executable, "-I", "-S", "-c", _BOOT, root(), str(state.path), *listen, *_server(state, spec)]


def ports_of(state: StateDir, spec: dict[str, Any]) -> str:
    """The export's former port, because its initiator knows no other; else FIRST-LAST,... of the free ports.

    An export whose server died keeps its port until it is removed: its initiator will reconnect there, and another
    volume's server would refuse it again and again. Each export begins at another port of the range, so that two
    services on one host with the same range, which do not know each other's dead servers, rarely choose the same port.
    """
    if spec.get("port"):
        return str(spec["port"])
    others = (StateDir(state.path.parent, path.name).read() for path in state.path.parent.iterdir())
    recorded = {other.get("port") for other in others if other}
    first, last = spec["ports"]
    begin = zlib.crc32(state.id.encode()) % (last - first + 1)
    ports = [*range(first + begin, last + 1), *range(first, first + begin)]
    return _ranges(port for port in ports if port not in recorded)


def _ranges(ports: Iterable[int]) -> str:
    found: list[list[int]] = []
    for port in ports:
        if found and port == found[-1][1] + 1:
            found[-1][1] = port
        else:
            found.append([port, port])
    return ",".join(f"{first}-{last}" for first, last in found)


def _server(state: StateDir, spec: dict[str, Any]) -> list[str]:
    tls = [f"--tls-psk={state.psk_path}", "--tls=require"] if spec["tls"] else ["--tls=off"]
    filters = [f"--filter={name}" for name in spec["filters"]]
    return [
        str(Path(__file__).with_name(KEEPER)),
        *(ciphers.environment() if spec["tls"] else []),
        spec["nbdkit"],
        "--threads",
        THREADS,
        *(["--readonly"] if spec["read_only"] else []),
        *tls,
        *filters,
        "python",
        str(Path(__file__).with_name("plugin.py")),
        f"spec={state.spec_path}",
        *spec["filter_args"],
    ]


def root() -> str:
    """The folder that holds the package nbdsvc."""
    return str(Path(__file__).resolve().parents[3])


def pythonpath() -> str:
    """The PYTHONPATH by which nbdkit's interpreter finds the core and cffi's runtime: the paths of this process."""
    import _cffi_backend

    return os.pathsep.join([root(), str(Path(_cffi_backend.__file__).resolve().parent)])
