"""`python -m rig up|down|run|ssh`: the machines, and the suite on them. `make rig` is `run` and always cleans up.

up [HOST...]              bring machines up and leave them
run [--keep] [--inventory FILE] [PYTEST ARGUMENT...]
replay FILE               a saved run of the machine, again
mutations [NAME...]       plant bugs, each in turn, and tell which the machine finds; RIG_MINUTES for each
bench [--keep]            fio through kernel nbd, iSCSI and an LV, and the time to attach; RIG_ROUNDS of each
ssh HOST [COMMAND...]
down
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rig import agent, box, fleet, install, machines, network
from rig.machine import mutations

ROOT = Path(__file__).resolve().parent.parent
# The folder of the files that a run leaves.
OUTPUT = ROOT / "build" / "rig"


def main(argv: list[str]) -> int:
    """Run one verb of the rig; the exit status: 2 without a known verb, 1 where it fails or the user is not root."""
    verbs = {"up": _up, "down": _down, "run": _run, "ssh": _ssh, "replay": _replay, "mutations": _mutations,
             "bench": _bench}  # fmt: skip
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
    """Run the suite inside the namespace of the machines; then remove machines and namespace, unless --keep."""
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
    options = ["-p", "no:cacheprovider", "-c", str(ROOT / "rig" / "pytest.ini"), f"--junitxml={OUTPUT / 'junit.xml'}"]
    argv = [*prefix, sys.executable, "-m", "pytest", "-q", *options, *(arguments or [str(ROOT / "rig" / "suite")])]
    try:
        return subprocess.run(argv, cwd=ROOT, env=_environment(made), check=False).returncode
    except KeyboardInterrupt:
        return 130


def _replay(arguments: list[str]) -> int:
    """Replay a saved run on machines that are kept afterwards."""
    return _inside(_machines(list(machines.HOSTS)), "rig.machine.replay", str(Path(arguments[0]).resolve()))


def _mutations(names: list[str]) -> int:
    """Hunt for each planted bug; the table of results is written to build/rig/mutations.json after each."""
    results, output = [], OUTPUT / "mutations.json"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    made = machines.up(list(machines.HOSTS))
    for mutation in [mutations.named(name) for name in names] or mutations.MUTATIONS:
        disk = install.disk(mutation.plant)
        for host in made.hosts:
            machines.attach_disk(host.name, disk, install.SERIAL)
        results.append(_hunt(made, mutation))
        print(results[-1], flush=True)
        output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{sum(each['found'] for each in results)} of {len(results)} planted bugs found")
    return 0


def _bench(arguments: list[str]) -> int:
    """Measure on the storage host alone, because other machines would use its processors."""
    try:
        return _inside(_machines(["storage"]), "rig.bench")
    finally:
        if "--keep" not in arguments:
            machines.down()


def _inside(made: fleet.Fleet, module: str, *arguments: str) -> int:
    """Run a module of the rig where the hosts can be reached; its exit status."""
    argv = network.inside(sys.executable, "-m", module, *arguments)
    return subprocess.run(argv, cwd=ROOT, env=_environment(made), check=False).returncode


def _environment(made: fleet.Fleet) -> dict[str, str]:
    """The environment by which a process of the rig finds its hosts."""
    path = box.CACHE / "fleet.json"
    made.save(path)
    return {**os.environ, fleet.FLEET: str(path), "PYTHONPATH": str(ROOT)}


def _hunt(made: fleet.Fleet, bug: mutations.Mutation) -> dict[str, Any]:
    argv = network.inside(sys.executable, "-m", "rig.machine.hunt", bug.name,
                          os.environ.get("RIG_MINUTES", "5"), os.environ.get("RIG_SEED", "1"))  # fmt: skip
    done = subprocess.run(argv, cwd=ROOT, env=_environment(made), stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (IndexError, ValueError):
        return {"bug": bug.name, "found": False, "steps": 0, "violation": f"the rig failed with {done.returncode}"}


def _ssh(arguments: list[str]) -> int:
    key = ["-i", str(box.build() / "id")]
    target = f"root@{machines.address(arguments[0])}"
    return subprocess.run([*network.inside(), *agent.SSH, *key, target, *arguments[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
