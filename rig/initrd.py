"""Small file systems that a kernel starts with: busybox, the modules that it needs, and an init of ours."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def pack(tree: Path, work: Path, init: Path, modules: Sequence[str]) -> bytes:
    """A cpio archive for the kernel of a Debian tree; `work`: an empty folder, gone afterwards. Needs busybox-static."""
    (work / "bin").mkdir(parents=True)
    (work / "modules").mkdir()
    shutil.copy("/bin/busybox", work / "bin" / "busybox")
    shutil.copy(init, work / "init")
    (work / "init").chmod(0o755)
    files = _with_dependencies(next((tree / "lib/modules").iterdir()), modules)
    for path in files:
        shutil.copy(path, work / "modules" / path.name)
    (work / "modules" / "order").write_text(" ".join(path.name for path in files))
    names = sorted(str(path.relative_to(work)) for path in work.rglob("*"))
    packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input="\n".join(names).encode(),
                            capture_output=True, check=True).stdout  # fmt: skip
    shutil.rmtree(work)
    return packed


def _with_dependencies(folder: Path, modules: Sequence[str]) -> list[Path]:
    """The modules with all that they need, what is needed first (modules.dep lists it last)."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[Path(name).name.partition(".")[0].replace("-", "_")] = (name, rest.split())
    found: list[Path] = []
    for module in modules:
        if module in needs:  # a module that is missing here is built into the kernel
            file, needed = needs[module]
            found += [folder / each for each in [*reversed(needed), file] if folder / each not in found]
    return found
