"""Modules that are loaded with their first use, and only as they were when this process started.

Whoever installs another version of nbdsvc below a running service replaces its files one by one. What is loaded after that
would be of the new version among modules of the old one, and might do with rows and volumes what neither version does.
"""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from nbdsvc import errors

_ROOT = Path(__file__).resolve().parents[1]
# Modification time in ns, inode and bytes of a module's file; None without a file, as in an archive.
_Stamp = tuple[int, int, int] | None


class LateModules:
    """Modules by their full names. Their files, below `root`, are looked at now."""

    def __init__(self, names: Iterable[str], root: Path = _ROOT) -> None:
        self._root = root
        self._stamps = {name: _stamp(root, name) for name in names}

    def load(self, name: str) -> ModuleType:
        """The module, now loaded. Replaced where its file is another one than at the start."""
        if name not in sys.modules and _stamp(self._root, name) != self._stamps[name]:
            raise errors.Replaced(module=name)
        return importlib.import_module(name)


def _stamp(root: Path, name: str) -> _Stamp:
    path = root.joinpath(*name.split("."))
    for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        try:
            found = file.stat()
        except OSError:
            continue
        return found.st_mtime_ns, found.st_ino, found.st_size
    return None
