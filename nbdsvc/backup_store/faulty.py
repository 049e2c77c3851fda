"""A simulator of a store that is away, full, or lies: wraps another store, and ships so that operators may rehearse."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.backup_store.contract import BackupStore


@dataclass
class Fault:
    """What goes wrong with the calls of `method` whose name has `part` in it.

    kind: away, full, lost (a put that is answered and not kept), short (a put that keeps the first half), flipped (a put
    that changes one bit), or stop (the call is made, and then the store is away: as a kill between two calls). skip: so
    many calls are good before it; times: then so many are bad, -1: all.
    """

    method: str
    kind: str
    part: str = ""
    skip: int = 0
    times: int = -1


class FaultyStore:
    """A store with faults; without any it is the store behind it. on_call: called before each call, with its name."""

    def __init__(self, behind: BackupStore) -> None:
        self.name = behind.name
        self.faults: list[Fault] = []
        self.on_call: Callable[[str, str], None] = lambda _method, _name: None
        self._behind = behind

    def is_known(self) -> bool:
        return self._behind.is_known()

    def check(self) -> str:
        self._meet("check", "")
        return self._behind.check()

    def put(self, name: str, content: bytes) -> None:
        kind = self._meet("put", name)
        if kind == "short":
            content = content[: len(content) // 2]
        elif kind == "flipped":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if kind != "lost":
            self._behind.put(name, content)
        self._end(kind)

    @property
    def moves_at_once(self) -> bool:
        """As of BackupStore."""
        return self._behind.moves_at_once

    def get(self, name: str, most: int) -> bytes:
        self._meet("get", name)
        return self._behind.get(name, most)

    def head(self, name: str, length: int) -> tuple[bytes, int]:
        self._meet("head", name)
        return self._behind.head(name, length)

    def names(self, folder: str) -> Iterator[str]:
        self._meet("names", folder)
        return self._behind.names(folder)

    def move(self, name: str, new: str) -> bool:
        kind = self._meet("move", name)
        found = self._behind.move(name, new)
        self._end(kind)
        return found

    def remove(self, name: str) -> bool:
        kind = self._meet("remove", name)
        found = self._behind.remove(name)
        self._end(kind)
        return found

    def remove_folder(self, folder: str) -> None:
        self._meet("remove_folder", folder)
        self._behind.remove_folder(folder)

    def sync(self, folder: str) -> None:
        self._meet("sync", folder)
        self._behind.sync(folder)

    def sweep(self, folder: str) -> int:
        self._meet("sweep", folder)
        return self._behind.sweep(folder)

    def _meet(self, method: str, name: str) -> str:
        """The fault that this call meets; empty for none."""
        self.on_call(method, name)
        for fault in self.faults:
            if fault.method not in (method, "*") or fault.part not in name or not fault.times:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.kind == "away":
                raise errors.BackendUnavailable(backend=self.name, reason="the simulator is away")
            if fault.kind == "full":
                raise errors.OutOfSpace(pool=self.name, requested=None, free=0, reason="the simulator is full")
            return fault.kind
        return ""

    def _end(self, kind: str) -> None:
        if kind == "stop":
            raise errors.BackendUnavailable(backend=self.name, reason="the simulator stopped after the call")
