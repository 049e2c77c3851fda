"""What a LIO export owes, noted in a file of the exports folder: several of one volume are one target.

<exports>/<attachment id>.lio   readable by its owner only, for it has the attachment's secret
"""

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nbdsvc.exporter import ExportSpec

_SUFFIX = ".lio"


class Specs:
    """The noted exports in `root`. Files are replaced whole, so they are there or not at every kill."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, id: str) -> tuple[ExportSpec, bool] | None:
        """(spec, leaving): leaving, once its removal has begun."""
        try:
            noted: dict[str, Any] = json.loads(self._path(id).read_text())
        except (FileNotFoundError, ValueError):
            return None
        leaving = noted.pop("leaving")
        return ExportSpec(**{**noted, "path": Path(noted["path"])}), leaving

    def of(self, volume_id: str) -> list[ExportSpec]:
        """Those of a volume that are not leaving; in the order of their ids."""
        found = [self.find(id) for id in self.ids()]
        return [spec for spec, leaving in filter(None, found) if spec.volume_id == volume_id and not leaving]

    def ids(self) -> list[str]:
        return sorted(path.stem for path in self._root.glob(f"*{_SUFFIX}"))

    def volumes(self) -> Iterator[str]:
        for id in self.ids():
            if noted := self.find(id):
                yield noted[0].volume_id

    def write(self, spec: ExportSpec, *, leaving: bool = False) -> None:
        temporary = self._path(spec.id).with_suffix(".new")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                json.dump({**asdict(spec), "path": str(spec.path), "leaving": leaving}, file)
            temporary.replace(self._path(spec.id))
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def leave(self, spec: ExportSpec) -> None:
        """Its removal begins. Without room to note that, the note goes at once: what is left of it in LIO after a crash is
        found by what there is (LioExporter.list_exports, healthy)."""
        try:
            self.write(spec, leaving=True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.remove(spec.id)

    def remove(self, id: str) -> None:
        self._path(id).unlink(missing_ok=True)

    def _path(self, id: str) -> Path:
        return self._root / f"{id}{_SUFFIX}"
