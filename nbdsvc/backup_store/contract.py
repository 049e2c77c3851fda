"""The contract of a store of backups: named objects, each whole or not there, which several hosts reach at once.

Names are relative paths of letters, digits, `.`, `_` and `-`. What is visible is whole and on stable storage once
`sync` of its folder has returned: a store is used by hosts that know nothing of each other, so that one of them may
rely on an object that another one wrote a moment ago. Every method may be repeated after a crash.

Errors: BackendUnavailable where the store is away or refuses, OutOfSpace where it is full. Bytes are never trusted:
the format has a digest of everything, which its readers check.
"""

from collections.abc import Iterator
from typing import Protocol


class Missing(Exception):
    """The store has no object of this name."""


class TooLarge(ValueError):
    """An object has more bytes than whatever this service writes under such a name: it is damaged, or another one's."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"it has {size} bytes, and may have {most}")


class BackupStore(Protocol):
    """A store. `name`: for messages."""

    name: str

    @property
    def moves_at_once(self) -> bool:
        """Whether a move is one step. Else the object is there under both names for a moment; it is never lost."""

    def is_known(self) -> bool:
        """Whether this host has used the store before. Does not look at the store."""

    def check(self) -> str:
        """The store's id, which never changes. Raises BackendUnavailable where another store, or none, is there."""

    def put(self, name: str, content: bytes) -> None:
        """Make or replace an object; readers see the old content or the new."""

    def get(self, name: str, most: int) -> bytes:
        """The content. Raises Missing, and TooLarge, before it is read, where it has more than `most` bytes."""

    def head(self, name: str, length: int) -> tuple[bytes, int]:
        """The first `length` bytes, and the size in bytes. Raises Missing."""

    def names(self, folder: str) -> Iterator[str]:
        """The last parts of the names in the folder, in any order, objects and folders: as they are now, not as they
        were. None where there is no such folder.
        """

    def move(self, name: str, new: str) -> bool:
        """Give the object another name, in place of what has that; False where there is no such object."""

    def remove(self, name: str) -> bool:
        """Remove the object; False where there is none."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder that has become empty; one that has not, or is gone, stays as it is."""

    def sync(self, folder: str) -> None:
        """Return when the names in the folder are on stable storage."""

    def sweep(self, folder: str) -> int:
        """Remove what writers that were killed left in the folder long ago; returns how many files."""
