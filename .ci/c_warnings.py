"""Compiles every C file of native/ with warnings as errors, at the optimisation that finds most of them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Inative", "-c", "-o", "/dev/null"]


def compile_one(source: Path) -> subprocess.CompletedProcess[str]:
    argv = ["gcc", *FLAGS, str(source.relative_to(ROOT))]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def main() -> int:
    sources = sorted((ROOT / "native").rglob("*.c"))
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(compile_one, sources))
    for result in results:
        print(result.stderr, end="")
    return 1 if any(result.returncode for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
