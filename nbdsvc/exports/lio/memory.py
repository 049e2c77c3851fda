"""A simulator of LIO: the same actions by the kernel's rules, in memory. A restart loses all, like a reboot of the
host.

Like the kernel it refuses actions in a wrong order, and it can stop within an action, like a process that is killed.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from nbdsvc import errors
from nbdsvc.exports.lio.discovery import DiscoveryFailed
from nbdsvc.exports.lio.plan import Action, Backstore, Config, MappedLun, NodeAcl, Portal, Target


class MemoryLio:
    """See Lio in nbdsvc/exports/lio/exporter.py. absent: portals whose address this host lacks. hidden: IQNs that no
    SendTargets reply has. silent: the reason why discovery fails. logged_in: by IQN, the initiators with a session; the
    sessions of other IQNs are unknown.

    on_write: called before each write to a file that the kernel would need. Its exception is passed on, and earlier
    changes stay.
    """

    def __init__(self, on_write: Callable[[], None] = lambda: None) -> None:
        self.absent: set[Portal] = set()
        self.hidden: set[str] = set()
        self.silent: str | None = None
        self.objects: dict[str, Backstore] = {}
        self.targets: dict[str, Target] = {}
        self.logged_in: dict[str, frozenset[str]] = {}
        self._on_write = on_write
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock:
            yield

    def backstores(self) -> list[Backstore]:
        return list(self.objects.values())

    def read(self, iqn: str, name: str) -> Config:
        return Config(self.objects.get(name), self.targets.get(iqn))

    def sessions(self, iqn: str) -> frozenset[str] | None:
        return self.logged_in.get(iqn)

    def discover(self, initiator: str, peer: str, port: int) -> list[tuple[str, str]]:
        """Portals at one address, for every initiator."""
        if self.silent is not None:
            raise DiscoveryFailed(self.silent)
        visible = [
            iqn for iqn, target in self.targets.items() if initiator in {each.initiator for each in target.accesses}
        ]
        return [(iqn, f"192.0.2.1:{port}") for iqn in visible if self.targets[iqn].enabled and iqn not in self.hidden]

    def apply(self, iqn: str, name: str, action: Action) -> None:
        do: Callable[[str, str, Any], None] = getattr(self, f"_{action.verb}")
        do(iqn, name, action.argument)

    def _remove_target(self, iqn: str, _name: str, _none: None) -> None:
        found = self.targets[iqn]
        self._put(iqn, enabled=False)
        for access in found.accesses:
            self._disallow(iqn, "", access.initiator)
        for lun, _ in found.luns:
            self._remove_lun(iqn, "", lun)
        for portal in found.portals:
            self._remove_portal(iqn, "", portal)
        self._on_write()
        del self.targets[iqn]

    def _remove_backstore(self, iqn: str, name: str, _none: None) -> None:
        if any(name == behind for target in self.targets.values() for _, behind in target.luns):
            raise errors.ExportFailed(export=iqn, reason="remove backstore: Device or resource busy")
        self._on_write()
        del self.objects[name]

    def _make_backstore(self, iqn: str, name: str, wanted: Backstore) -> None:
        if name in self.objects:
            raise errors.ExportFailed(export=iqn, reason="make backstore: File exists")
        self._on_write()
        self.objects[name] = replace(wanted, serial="", working=False)
        self._on_write()
        self.objects[name] = replace(wanted, serial="")
        self._on_write()
        self.objects[name] = wanted

    def _resize(self, _iqn: str, name: str, wanted: Backstore) -> None:
        self._on_write()
        self.objects[name] = replace(self.objects[name], source=wanted.source)

    def _make_target(self, iqn: str, _name: str, _none: None) -> None:
        self._on_write()
        self.targets.setdefault(iqn, Target())

    def _set_attribute(self, iqn: str, _name: str, pair: tuple[str, str]) -> None:
        others = tuple(each for each in self.targets[iqn].attributes if each[0] != pair[0])
        self._put(iqn, attributes=tuple(sorted((*others, pair))))

    def _enable(self, iqn: str, _name: str, _none: None) -> None:
        self._put(iqn, enabled=True)

    def _make_lun(self, iqn: str, name: str, lun: tuple[int, str]) -> None:
        if name not in self.objects or lun[0] in [number for number, _ in self.targets[iqn].luns]:
            raise errors.ExportFailed(export=iqn, reason="make lun: no backstore, or the number is taken")
        self._put(iqn, luns=self.targets[iqn].luns | {(lun[0], "")})
        self._put(iqn, luns=self.targets[iqn].luns - {(lun[0], "")} | {lun})

    def _remove_lun(self, iqn: str, _name: str, number: int) -> None:
        for access in self.targets[iqn].accesses:
            self._replace(iqn, access, mapped=tuple(each for each in access.mapped if each.number != number))
        self._put(iqn, luns=frozenset(lun for lun in self.targets[iqn].luns if lun[0] != number))

    def _allow(self, iqn: str, _name: str, access: NodeAcl) -> None:
        luns = [number for number, behind in self.targets[iqn].luns if behind]
        found = next((each for each in self.targets[iqn].accesses if each.initiator == access.initiator), None)
        if found is None:
            found = NodeAcl(access.initiator, "", "", ())
            self._put(iqn, accesses=self.targets[iqn].accesses | {found})
        found = self._replace(iqn, found, user=access.user)
        found = self._replace(iqn, found, password=access.password, mapped=found.mapped)
        for wanted in access.mapped:
            if wanted.number not in luns:
                raise errors.ExportFailed(export=iqn, reason=f"allow: LUN {wanted.number} does not exist")
            found = self._replace(iqn, found, mapped=(MappedLun(wanted.number, None),))
            found = self._replace(iqn, found, mapped=(wanted,))

    def _disallow(self, iqn: str, _name: str, initiator: str) -> None:
        kept = frozenset(each for each in self.targets[iqn].accesses if each.initiator != initiator)
        self._put(iqn, accesses=kept)

    def _add_portal(self, iqn: str, _name: str, portal: Portal) -> None:
        if portal in self.absent:
            raise errors.ExportFailed(export=iqn, reason=f"add portal {portal}: Cannot assign requested address")
        self._put(iqn, portals=self.targets[iqn].portals | {portal})

    def _remove_portal(self, iqn: str, _name: str, portal: Portal) -> None:
        self._put(iqn, portals=self.targets[iqn].portals - {portal})

    def _replace(self, iqn: str, access: NodeAcl, **changes: Any) -> NodeAcl:
        changed = replace(access, **changes)
        self._put(iqn, accesses=self.targets[iqn].accesses - {access} | {changed})
        return changed

    def _put(self, iqn: str, **changes: Any) -> None:
        self._on_write()
        self.targets[iqn] = replace(self.targets[iqn], **changes)
