"""Which store it is: a mark in the store has its id, and a note in the state folder the one that this host uses.

So a store that is not there (a mount point without its file system, an emptied bucket) is not taken for an empty one.
"""

import json
import uuid
from pathlib import Path
from typing import Protocol

from nbdsvc import atomic_file, errors

MARK, _FORMAT = "nbdsvc-backups.json", 1
# Bytes of a mark; more is none of ours.
MOST_MARK = 4096


class Markable(Protocol):
    """A store as its identity is looked for. name, where: for messages; hint: what is wrong where it is another one."""

    name: str
    where: str
    hint: str

    def read_mark(self) -> bytes | None:
        """The content of the mark; None where there is none."""

    def make_mark(self, content: bytes) -> None:
        """Make the store, unless another host was first. Raises BackendUnavailable where something else is there."""


def check(store: Markable, note: Path) -> str:
    """The store's id. The first check of an empty place makes the store. Raises BackendUnavailable."""
    known, found = _noted(store, note), _marked(store)
    if found is None and known is None:
        store.make_mark(json.dumps({"format": _FORMAT, "id": str(uuid.uuid4())}).encode())
        found = _marked(store)
    if found is None or known not in (None, found):
        reason = f"{store.where} is not the store {known} that this host uses; {store.hint}"
        raise errors.BackendUnavailable(backend=store.name, reason=reason)
    if known is None:
        note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_file.write(note, json.dumps({"store": found}).encode())
    return found


def _noted(store: Markable, note: Path) -> str | None:
    try:
        return str(json.loads(note.read_bytes())["store"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise errors.BackendUnavailable(backend=store.name, reason=f"its note {note} is damaged") from error


def _marked(store: Markable) -> str | None:
    content = store.read_mark()
    if content is None:
        return None
    try:
        found = json.loads(content)
        made, id = int(found["format"]), str(found["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise errors.BackendUnavailable(backend=store.name, reason=f"{store.where}/{MARK} is damaged") from error
    if made != _FORMAT:
        reason = f"{store.where} has format {made}, and this version knows {_FORMAT}"
        raise errors.BackendUnavailable(backend=store.name, reason=reason)
    return id
