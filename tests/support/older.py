"""An older version of nbdsvc, built from this repository's history, so that its state folders are real ones."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The last commit before backends, locations and noun folders: its state folders must be taken over for good.
BEFORE_BACKENDS = "7b1fcb8"
# The last commit whose exporters noted a path: exports that it made live on for as long as their attachments.
BEFORE_LOCATIONS = "5829052"
# The version that processes are upgraded from one by one.
BEFORE_ROLLING = "2ff14e5"
_STEPS = """
import json, nbdsvc.service as service
kinds = service.KINDS if hasattr(service, "KINDS") else service.TYPES_BY_NAME  # its name since
print(json.dumps({k: [[step.name, step.undo is not None] for step in v.steps] for k, v in kinds.items()}))
"""


@dataclass(frozen=True)
class Older:
    """tree: its files, with the C core built. steps: operation type -> [(name of a step, whether it has an undo), ...]."""

    tree: Path
    steps: dict[str, list[tuple[str, bool]]]


def built(commit: str, folder: Path) -> Older:
    """The files of that commit in `folder`. CalledProcessError in a shallow clone, which does not have the commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=packed, check=True)
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=folder, check=True, capture_output=True)
    # The virtual environment of an installation, as the bootstrap makes it for this version.
    subprocess.run([sys.executable, "-m", "compileall", "-q", "nbdsvc", "drivers"], cwd=folder, check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    argv = [sys.executable, "-c", _STEPS]
    printed = subprocess.run(argv, env=environment, cwd=folder, check=True, capture_output=True, text=True).stdout
    return Older(folder, json.loads(printed))
