"""The notes of exports: a file for each attachment; the exports of one volume are one target.

<exports>/<attachment id>.lio   readable by its owner only, because it has the attachment's secret

Version 2: id, volume_id, location, read_only, secret, port, initiators, peer, multipath, removing.
Version 1: `path` in place of location.
Version 0 (without `version`): as 1, but one `initiator`, `leaving` for removing, and tcp, which LIO does not use.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.note_files import NoteFiles
from nbdsvc.exports.note_version import noted_location


@dataclass(frozen=True)
class Note:
    """The note of an export. removing: whether its removal has begun."""

    spec: ExportSpec
    removing: bool = False


class StateDir:
    """The notes of exports in `root`."""

    def __init__(self, root: Path, suffix: str = ".lio") -> None:
        self._files = NoteFiles(root, suffix)

    def find(self, id: str) -> Note | None:
        """The note; None when there is none or it is damaged. Raises ExportFailed for a note of a newer version."""
        noted = self._files.read(id)
        return _note(noted) if noted else None

    def of(self, volume_id: str) -> list[ExportSpec]:
        """The specs of a volume's exports that are not being removed, ordered by id."""
        # Only this volume's notes become specs, because for an older note this reads the path's status, and storage may
        # hang.
        found = [_note(noted) for noted in self._files.all() if noted["volume_id"] == volume_id]
        return [note.spec for note in found if not note.removing]

    def ids(self) -> list[str]:
        return self._files.ids()

    def volumes(self) -> Iterator[str]:
        """The volume id of each note, repeated for each of its notes."""
        return (noted["volume_id"] for noted in self._files.all())

    def write(self, spec: ExportSpec, *, removing: bool = False) -> None:
        """Write the note. Raises OSError; the former note stays then."""
        access = spec.access
        more = {"secret": spec.secret, "port": spec.port, "peer": access.peer, "multipath": access.multipath}
        self._files.write(spec, **more, removing=removing)

    def begin_removal(self, spec: ExportSpec) -> None:
        """Record that the removal begins.

        On a full disk the note is deleted at once: LioExporter.inventory finds the backstore that LIO still has.
        """
        try:
            self.write(spec, removing=True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.remove(spec.id)

    def remove(self, id: str) -> None:
        self._files.remove(id)


def _note(noted: dict[str, Any]) -> Note:
    return _note_1(noted) if noted.get("version") else _note_0(noted)


def _note_1(noted: dict[str, Any]) -> Note:
    """Convert a note of version 1 or 2."""
    return Note(_spec(noted, tuple(noted["initiators"]), noted["peer"], noted["multipath"]), noted["removing"])


def _note_0(noted: dict[str, Any]) -> Note:
    initiator = noted.get("initiator")
    return Note(_spec(noted, (initiator,) if initiator else (), None, False), noted["leaving"])


def _spec(noted: dict[str, Any], initiators: tuple[str, ...], peer: str | None, multipath: bool) -> ExportSpec:
    access = Access(network=True, needs_secret=True, initiators=initiators, peer=peer, multipath=multipath)
    return ExportSpec(noted["id"], noted["volume_id"], noted_location(noted), access, noted["read_only"],
                      noted["secret"], noted.get("port"))  # fmt: skip
