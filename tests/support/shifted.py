"""Processes whose time of day is another one than the machine's."""

import subprocess
from pathlib import Path

from serving import ServiceProcess

SOURCE = Path(__file__).resolve().parents[1] / "native" / "clock.c"


def library(folder: Path) -> Path:
    """Built in that folder; it shifts the time of day of the process that it is preloaded into."""
    made = folder / "clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(made), str(SOURCE)], check=True)
    return made


def shift(service: ServiceProcess, library: Path, seconds: int) -> Path:
    """Of a service that is started after this, and of its children. The file with the seconds, which may be written anew."""
    file = service.state.parent / "clock"
    file.write_text(str(seconds))
    service.environment |= {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(file)}
    return file
