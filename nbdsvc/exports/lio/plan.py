"""LIO's present configuration of a volume, the desired one, and the actions between: data and pure functions, no I/O.

                        desired(accesses, ...)          plan(found, wanted)
    accesses of a volume -------------------> Config -------------------> actions
                                     found by Lio.read ^

The order of actions keeps two promises at a kill between any two: no initiator has more access than it should (a target
is enabled after its access control is configured), and every target of nbdsvc has its backstore, which is made first
and removed last; so incomplete targets can be recognised by backstores alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

# A target has one volume, so the numbers of its LUN and its portal group are always the first.
LUN, TPG_TAG = 0, 1
# Initiators without access can neither log in nor find the target by discovery. A LUN is mapped read-only
# and then made writable, so that a read-only initiator can write at no moment.
ATTRIBUTES = (
    ("authentication", "1"),
    ("generate_node_acls", "0"),
    ("cache_dynamic_acls", "0"),  # after generate_node_acls: while that is 1, the kernel keeps this at 1
    ("demo_mode_discovery", "0"),
    ("prod_mode_write_protect", "1"),
)
BLOCK, FILE = "block", "fileio"


@dataclass(frozen=True)
class Portal:
    """An address as LIO writes it: IPv6 in brackets."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}"

    @property
    def wildcard(self) -> bool:
        """Whether the portal means all addresses of the host; an initiator cannot connect to this address itself."""
        return self.ip in ("0.0.0.0", "[::]")


@dataclass(frozen=True)
class Source:
    """The volume's bytes. plugin: BLOCK passes requests to a device as they are, FILE writes through to stable storage.

    size: bytes of a file; 0 for a device, whose size LIO reads itself.
    """

    plugin: str
    path: str
    size: int = 0


@dataclass(frozen=True)
class Backstore:
    """A backstore. serial: the unit serial, from which LIO makes the WWN. working: whether it was made completely."""

    name: str
    source: Source
    serial: str
    working: bool = True


@dataclass(frozen=True)
class MappedLun:
    """A LUN as one initiator sees it, by `number`. read_only: None for a mapped LUN whose LUN is gone."""

    number: int
    read_only: bool | None


@dataclass(frozen=True)
class NodeAcl:
    """The access of one initiator: its CHAP credentials and the LUNs that it sees."""

    initiator: str
    user: str
    password: str = field(repr=False)
    mapped: tuple[MappedLun, ...]


@dataclass(frozen=True)
class Target:
    """A target. luns: (number, name of the backstore)."""

    attributes: tuple[tuple[str, str], ...] = ()
    enabled: bool = False
    luns: frozenset[tuple[int, str]] = frozenset()
    accesses: frozenset[NodeAcl] = frozenset()
    portals: frozenset[Portal] = frozenset()


@dataclass(frozen=True)
class Config:
    """The configuration of one volume."""

    backstore: Backstore | None = None
    target: Target | None = None


@dataclass(frozen=True)
class ExportAccess:
    """The access of one attachment: its initiator and the CHAP credentials."""

    initiator: str
    user: str
    password: str = field(repr=False)
    read_only: bool


Verb = Literal[
    "remove_target", "remove_lun", "remove_backstore", "make_backstore", "resize", "make_target", "set_attribute",
    "make_lun", "disallow", "allow", "remove_portal", "enable", "add_portal",
]  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One call of a method of Lio (exports/lio/kernel.py), which reads the state before it changes it."""

    verb: Verb
    argument: object = None


def desired(
    name: str, serial: str, source: Source | None, accesses: Iterable[ExportAccess], portals: Iterable[Portal]
) -> Config:
    """The desired configuration. All accesses of an initiator make one ACL (LIO has only one); read-only wins."""
    by_initiator: dict[str, list[ExportAccess]] = {}
    for access in accesses:
        by_initiator.setdefault(access.initiator, []).append(access)
    if not by_initiator or source is None:
        return Config()
    target = Target(
        attributes=ATTRIBUTES,
        enabled=True,
        luns=frozenset({(LUN, name)}),
        accesses=frozenset(_acl(found) for found in by_initiator.values()),
        portals=frozenset(portals),
    )
    return Config(Backstore(name, source, serial), target)


def _acl(accesses: list[ExportAccess]) -> NodeAcl:
    first = accesses[0]
    read_only = any(access.read_only for access in accesses)
    return NodeAcl(first.initiator, first.user, first.password, (MappedLun(LUN, read_only),))


def plan(found: Config, wanted: Config) -> list[Action]:
    """The actions that change the found configuration to the wanted one; empty when they are the same."""
    if wanted.backstore is None or wanted.target is None:
        return _removal(found)
    target = found.target or Target()
    renewed = found.backstore is not None and not _serves(found.backstore, wanted.backstore)
    luns = target.luns - wanted.target.luns if not renewed else target.luns
    actions = [Action("remove_lun", number) for number, _ in sorted(luns)]
    actions += _backstore(found.backstore, wanted.backstore, renewed)
    if found.target is None:
        actions.append(Action("make_target"))
    actions += [Action("set_attribute", pair) for pair in wanted.target.attributes if pair not in target.attributes]
    kept = target.luns - luns
    actions += [Action("make_lun", lun) for lun in sorted(wanted.target.luns - kept)]
    # The kernel removes the mapped LUNs of all initiators together with the LUN, so all have to be mapped again.
    seen = target.accesses if kept == wanted.target.luns else frozenset()
    names = {access.initiator for access in wanted.target.accesses}
    unknown = sorted(access.initiator for access in target.accesses if access.initiator not in names)
    actions += [Action("disallow", name) for name in unknown]
    actions += [Action("allow", access) for access in _sorted(wanted.target.accesses - seen)]
    actions += [Action("remove_portal", portal) for portal in _portals(target.portals - wanted.target.portals)]
    actions += [] if target.enabled else [Action("enable")]
    # Portals are added last: one whose address the host lacks for a while must not stop the other actions.
    return actions + [Action("add_portal", portal) for portal in _portals(wanted.target.portals - target.portals)]


def _removal(found: Config) -> list[Action]:
    actions = [Action("remove_target")] if found.target else []
    return actions + ([Action("remove_backstore")] if found.backstore else [])


def _backstore(found: Backstore | None, wanted: Backstore, renewed: bool) -> list[Action]:
    if found is None or renewed:
        return ([Action("remove_backstore")] if renewed else []) + [Action("make_backstore", wanted)]
    return [Action("resize", wanted)] if found.source.size != wanted.source.size else []


def _serves(found: Backstore, wanted: Backstore) -> bool:
    """Whether the backstore works and has this path and serial. The plugin may differ: neither a changed setting nor a
    note with another scheme of the same path may remove a disk that is in use.
    """
    return found.source.path == wanted.source.path and found.working and found.serial == wanted.serial


def _sorted(accesses: Iterable[NodeAcl]) -> list[NodeAcl]:
    return sorted(accesses, key=lambda access: access.initiator)


def _portals(portals: Iterable[Portal]) -> list[Portal]:
    return sorted(portals, key=str)
