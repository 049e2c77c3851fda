"""Shares the slots of one lane between projects. It only decides: the engine starts and stops operations."""

from collections import Counter
from collections.abc import Callable


class Slots:
    """At most `slots` operations run at once, for all projects together and for each of them.

    Two exceptions keep a project from delaying the others without a limit: an operation of a project without a running
    one starts without a slot, and an operation that does not count (a copy that its project limited, or whose source is
    silent) takes none. `most` limits these, too; half of it is reserved for projects without a running operation.
    """

    def __init__(self, slots: int, most: int) -> None:
        self._slots, self._most = slots, max(most, slots)
        self._waiting: dict[str, str] = {}
        self._working: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._working)

    def wait(self, id: str, project: str) -> None:
        """Queue the operation behind those of its own project."""
        self._waiting[id] = project

    def is_waiting(self, id: str) -> bool:
        return id in self._waiting

    def leave(self, id: str) -> None:
        self._waiting.pop(id, None)
        self._working.pop(id, None)

    def next(self, counts: Callable[[str], bool] = lambda _id: True) -> str | None:
        """Dequeue the next operation of the project with the fewest running ones; None if none may start."""
        first: dict[str, str] = {}
        for id, project in self._waiting.items():
            first.setdefault(project, id)
        if not first:
            return None
        at_work = Counter(self._working.values())
        project = min(first, key=lambda each: at_work[each])  # if two have as few, the one that waits longer
        if not self._may_start(at_work[project], counts):
            return None
        id = first[project]
        self._working[id] = self._waiting.pop(id)
        return id

    def _may_start(self, own: int, counts: Callable[[str], bool]) -> bool:
        if own == 0:
            return len(self._working) < self._most
        engaged = sum(counts(id) for id in self._working)
        return own < self._slots and engaged < self._slots and len(self._working) < max(self._slots, self._most // 2)
