"""iSCSI exports by LIO: one target per volume, one access per initiator, each with CHAP credentials of its own.

The kernel serves the bytes; this module only configures it. The desired configuration is in one file for each
attachment, the present one is read from LIO, and the difference is a list of actions (plan.py). So the same code
creates an export, repairs it after a reboot and removes it, and no saved configuration can be out of date.
"""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from nbdsvc import errors
from nbdsvc.exporter import (
    Access,
    ConnectionInfo,
    Connector,
    ExportSpec,
    Health,
    Inventory,
    check_scheme,
    driver_volume_type,
)
from nbdsvc.exports.lio import chap, connection
from nbdsvc.exports.lio.discovery import DiscoveryFailed
from nbdsvc.exports.lio.plan import BLOCK, FILE, Action, Backstore, Config, ExportAccess, Portal, Source, plan
from nbdsvc.exports.lio.plan import desired as desired_config
from nbdsvc.exports.lio.portals import parse
from nbdsvc.exports.lio.state_dir import StateDir
from nbdsvc.location import Location
from nbdsvc.model import names

# Initiator names of RFC 7143 section 4.2.7 that LIO accepts. No other may pass, because the names become folder names.
_INITIATOR = re.compile(r"iqn\.[0-9]{4}-[01][0-9]\.[a-z0-9-]+\.[a-z0-9.:-]+|eui\.[0-9a-f]{16}|naa\.[125][0-9a-f]{15}")
_INITIATOR_MAX = 223


class Lio(Protocol):
    """The configuration of LIO on a host: targets by IQN, backstores by name."""

    def locked(self) -> AbstractContextManager[None]:
        """A block with a lock against every other process of this host that changes LIO by this lock."""

    def backstores(self) -> list[Backstore]:
        """All backstores of the host, also foreign ones."""

    def read(self, iqn: str, name: str) -> Config:
        """The configuration of one volume: its backstore and its target."""

    def discover(self, initiator: str, peer: str, port: int) -> list[tuple[str, str]]:
        """(IQN, ADDRESS:PORT) of each target that discovery reports to `initiator` at the address `peer`.

        Raises DiscoveryFailed or OSError.
        """

    def sessions(self, iqn: str) -> frozenset[str] | None:
        """Names of the initiators that are logged in to the target; None where that is unknown."""

    def apply(self, iqn: str, name: str, action: Action) -> None:
        """Apply one action of a plan. Raises ExportFailed, which names the action."""


class LioExporter:
    """See nbdsvc/exporter.py for the contract.

    portals: the addresses of every target; initiators without multipath get the first.
    prefix: the beginning of the targets' IQNs (Cinder's target_prefix).
    block_size: bytes of a logical block.
    write_through: whether a write is answered only when it is on stable storage.
    """

    protocol = "iSCSI"
    # Ends the names of its notes, which are in one folder with those of other transports.
    suffix = ".lio"

    def __init__(
        self,
        exports_folder: Path,
        lio: Lio,
        portals: Sequence[Portal],
        prefix: str,
        block_size: int,
        *,
        write_through: bool,
    ) -> None:
        self._state = StateDir(exports_folder, self.suffix)
        self._lio = lio
        self._portals = list(portals)
        self._prefix = prefix
        self._block_size = block_size
        self._write_through = write_through
        # With a wildcard, no address that an initiator reaches is known: it gets those that discovery reports.
        self._everywhere = portals[0].wildcard

    def accept(self, connector: Connector, location: Location) -> Access:
        """See the contract. Requires `initiator`, a name that LIO accepts, and `ip` when the portal is a wildcard."""
        check_scheme(self.protocol, location)
        if not connector.initiators:
            raise errors.InvalidInput(
                field="connector.initiator", value=None, reason=f"{self.protocol} needs the initiator's name"
            )
        initiators = tuple(_checked_name(name) for name in connector.initiators)
        if self._everywhere:
            _check_ip(connector.ip)
        # An initiator's attachments share a key, because LIO has one password and one list of LUNs for each initiator.
        return Access(network=True, needs_secret=True, initiators=initiators, sharing_key=initiators[0],
                      peer=connector.ip, multipath=connector.multipath)  # fmt: skip

    def ensure(self, spec: ExportSpec) -> ConnectionInfo:
        """See the contract. After a failure the export's note is removed, unless it existed before."""
        check_scheme(self.protocol, spec.location)
        if not spec.access.initiators or not spec.secret:
            raise errors.ExportFailed(export=spec.id, reason="an iSCSI export needs an initiator and a key")
        if self._source(spec.location) is None:
            raise errors.ExportFailed(export=spec.id, reason=f"there is no volume at {spec.location}")
        self._refuse_two_modes(spec)
        is_new = self._state.find(spec.id) is None
        self._state.write(spec)
        try:
            self._configure(spec.volume_id)
        except errors.Error:
            if is_new:
                self.remove(spec.id)
            raise
        return self._info(spec)

    def remove(self, export_id: str) -> None:
        """See the contract. An id without a note is that of a volume whose target is an orphan, see inventory."""
        note = self._state.find(export_id)
        if note:
            self._state.begin_removal(note.spec)
        self._configure(note.spec.volume_id if note else export_id)
        self._state.remove(export_id)

    def resize(self, export_id: str, size: int) -> None:
        """Configure the new size of a file; LIO reads the size of a device itself. Raises ExportFailed."""
        if note := self._state.find(export_id):
            self._configure(note.spec.volume_id)

    def health(self, export_id: str) -> Health:
        """Whether LIO has all of the volume's target."""
        note = self._state.find(export_id)
        if note is None or note.removing:
            return Health("it is not noted")
        if self._source(note.spec.location) is None:
            return Health(f"there is no volume at {note.spec.location}")
        missing = self._missing(note.spec.volume_id)
        return Health(f"LIO lacks: {', '.join(each.verb for each in missing)}" if missing else "")

    def sessions(self, export_id: str) -> frozenset[str] | None:
        """Initiators that are logged in to the volume's target, which all attachments of the volume share."""
        note = self._state.find(export_id)
        return self._lio.sessions(self._iqn(note.spec.volume_id)) if note else None

    def inventory(self) -> Inventory:
        """See the contract. Orphans are ids of volumes that have a backstore of nbdsvc but no note."""
        ours = [found.serial for found in self._lio.backstores() if found.name == names.volume_name(found.serial)]
        return Inventory(tuple(self._state.ids()), tuple(sorted(set(ours) - set(self._state.volumes()))))

    def find(self, export_id: str) -> tuple[ExportSpec, ConnectionInfo] | None:
        note = self._state.find(export_id)
        return (note.spec, self._info(note.spec)) if note else None

    @staticmethod
    def with_secret(info: ConnectionInfo, secret: str) -> ConnectionInfo:
        """Returns the connection_info with the CHAP password."""
        return replace(info, data={**info.data, "auth_password": chap.password(secret)})

    def _info(self, spec: ExportSpec) -> ConnectionInfo:
        iqn = self._iqn(spec.volume_id)
        portals = self._discovered(spec, iqn) if self._everywhere else self._portals
        info = connection.info(spec, iqn, portals, block_size=self._block_size, discovered=self._everywhere)
        return replace(info, driver_volume_type=driver_volume_type(self.protocol))

    def _discovered(self, spec: ExportSpec, iqn: str) -> list[Portal]:
        """The portals that discovery reports to this initiator, which it can reach (S124). Raises InvalidInput."""
        peer, initiator = _check_ip(spec.access.peer), spec.access.initiators[0]
        try:
            found = self._lio.discover(initiator, peer, self._portals[0].port)
            reason = f"discovery does not tell {initiator} of its target"
        except (DiscoveryFailed, OSError) as error:
            found, reason = [], f"discovery failed: {error}"
        addresses = dict.fromkeys(address for name, address in found if name == iqn)
        if not addresses:
            raise errors.InvalidInput(field="volume", value=spec.volume_id, reason=reason)
        return parse(addresses)

    def _refuse_two_modes(self, spec: ExportSpec) -> None:
        for other in self._state.of(spec.volume_id):
            shared = set(other.access.initiators) & set(spec.access.initiators)
            if other.id != spec.id and shared and other.read_only != spec.read_only:
                mode = "read-only" if other.read_only else "writable"
                reason = f"initiator {min(shared)} has volume {spec.volume_id} already, {mode}: it cannot have both"
                raise errors.Conflict(reason=reason)

    def _configure(self, volume_id: str) -> None:
        """Configure LIO by the volume's notes. A portal that fails does not stop other actions. ExportFailed."""
        iqn, name = self._iqn(volume_id), names.volume_name(volume_id)
        failed: errors.Error | None = None
        with self._lio.locked():
            actions = self._missing(volume_id)
            for action in actions:
                try:
                    self._lio.apply(iqn, name, action)
                except errors.ExportFailed as error:
                    if action.verb != "add_portal":
                        raise
                    failed = failed or error
            left = self._missing(volume_id)
        if failed:
            raise failed
        if left:
            raise errors.ExportFailed(export=iqn, reason=f"LIO did not take: {', '.join(each.verb for each in left)}")

    def _missing(self, volume_id: str) -> list[Action]:
        """The actions that remain. A device whose path is gone keeps its source, because LIO holds it open."""
        iqn, name = self._iqn(volume_id), names.volume_name(volume_id)
        specs, found = self._state.of(volume_id), self._lio.read(iqn, name)
        accesses = [access for spec in specs for access in _accesses(spec)]
        source = (self._source(specs[0].location) if specs else None) or (
            found.backstore.source if found.backstore else None
        )
        return plan(found, desired_config(name, volume_id, source, accesses, self._portals))

    def _source(self, location: Location) -> Source | None:
        """The source for a backstore; None when the path is gone. With write-through, LIO opens a device as a file."""
        path = Path(location.address)
        if location.scheme == "block" and path.is_block_device():
            return Source(FILE if self._write_through else BLOCK, str(path))
        if location.scheme == "file" and path.is_file():
            return Source(FILE, str(path), path.stat().st_size)
        return None

    def _iqn(self, volume_id: str) -> str:
        return self._prefix + names.volume_name(volume_id)


def _checked_name(name: str) -> str:
    """The initiator's name in lower case, as iSCSI compares names. Raises InvalidInput."""
    if len(name) > _INITIATOR_MAX or not _INITIATOR.fullmatch(name.lower()):
        reason = "must be an iSCSI name: iqn.YYYY-MM.DOMAIN[:NAME], eui.* or naa.*"
        raise errors.InvalidInput(field="connector.initiator", value=name[:80], reason=reason)
    return name.lower()


def _check_ip(found: str | None) -> str:
    try:
        ipaddress.ip_address(found or "")
    except ValueError:
        reason = "iscsi_portals is all addresses of the host: which one this initiator can reach, its own address tells"
        raise errors.InvalidInput(field="connector.ip", value=str(found)[:80], reason=reason) from None
    return str(found)


def _accesses(spec: ExportSpec) -> list[ExportAccess]:
    assert spec.secret
    user, password = chap.user(spec.secret), chap.password(spec.secret)
    return [ExportAccess(name, user, password, spec.read_only) for name in spec.access.initiators]
