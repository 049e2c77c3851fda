"""The notes of a transport whose exports have one file each, <exports>/<attachment id><suffix>."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file
from nbdsvc.exporter import ExportSpec
from nbdsvc.exports.note_version import VERSION, check_version, is_whole


class NoteFiles:
    """The notes in `folder`, which has those of other transports, too. Files are replaced atomically, so that a kill leaves
    the old or the new note, and only their owner may read them, because they may have secrets.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder, self._suffix = folder, suffix
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def ids(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob(f"*{self._suffix}"))

    def read(self, id: str) -> dict[str, Any] | None:
        """The note; None where there is none or it is damaged. ExportFailed for one of a newer version."""
        try:
            note = json.loads(self._path(id).read_text())
        except (FileNotFoundError, ValueError):
            return None
        if not is_whole(note):
            return None
        check_version(id, note)
        return note

    def all(self) -> Iterator[dict[str, Any]]:
        """Every whole note. Raises as `read`."""
        return filter(None, (self.read(id) for id in self.ids()))

    def write(self, spec: ExportSpec, **more: Any) -> None:
        """Write the note of an export. more: what the transport adds. Raises OSError; the former note stays then."""
        note = {
            "version": VERSION,
            "id": spec.id,
            "volume_id": spec.volume_id,
            "location": spec.location.to_json(),
            "read_only": spec.read_only,
            "initiators": list(spec.access.initiators),
            **more,
        }
        atomic_file.write(self._path(spec.id), json.dumps(note).encode())

    def remove(self, id: str) -> None:
        self._path(id).unlink(missing_ok=True)

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}{self._suffix}"
