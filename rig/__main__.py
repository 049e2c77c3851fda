"""`python -m rig up|down|run|ssh`: the machines, and the suite on them. `make rig` is `run` and always cleans up.

up [HOST...]              bring machines up and leave them
run [--keep] [--inventory FILE] [PYTEST ARGUMENT...]
ssh HOST [COMMAND...]
down
"""

import os
import subprocess
import sys
from pathlib import Path

from rig import agent, box, fleet, install, machines, network

FLEET = "RIG_FLEET"
ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str]) -> int:
    verbs = {"up": _up, "down": _down, "run": _run, "ssh": _ssh}
    if not argv or argv[0] not in verbs:
        print(__doc__)
        return 2
    if os.geteuid() != 0:
        print("The rig makes a network namespace and machines: it needs root.", file=sys.stderr)
        return 1
    return verbs[argv[0]](argv[1:])


def _up(names: list[str]) -> int:
    _machines(names or list(machines.HOSTS))
    return 0


def _down(_arguments: list[str]) -> int:
    machines.down()
    return 0


def _run(arguments: list[str]) -> int:
    """The suite inside the namespace, where the machines can be reached; machines and namespace gone afterwards."""
    if arguments[:1] == ["--inventory"]:
        return _suite(fleet.inventory(Path(arguments[1])), arguments[2:], [])
    keep = arguments[:1] == ["--keep"]
    try:
        return _suite(_machines(list(machines.HOSTS)), arguments[keep:], network.inside())
    finally:
        if not keep:
            machines.down()


def _machines(names: list[str]) -> fleet.Fleet:
    made = machines.up(names)
    disk = install.disk()
    for host in made.hosts:
        machines.attach_disk(host.name, disk, install.SERIAL)
    return made


def _suite(made: fleet.Fleet, arguments: list[str], prefix: list[str]) -> int:
    path = box.CACHE / "fleet.json"
    made.save(path)
    argv = [*prefix, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "rig" / "pytest.ini"),
            *(arguments or [str(ROOT / "rig" / "suite")])]  # fmt: skip
    environment = {**os.environ, FLEET: str(path), "PYTHONPATH": str(ROOT)}
    try:
        return subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 130


def _ssh(arguments: list[str]) -> int:
    key = ["-i", str(box.build() / "id")]
    target = f"root@{machines.address(arguments[0])}"
    return subprocess.run([*network.inside(), *agent.SSH, *key, target, *arguments[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
