"""iSCSI exports by LIO: one target per volume, one access per initiator, each with CHAP credentials of its own.

The bytes are served by the kernel; this only configures it. What is owed is noted in a file an attachment, what is
there is read from LIO, and the difference is a list of actions (plan.py). So creating, repairing after a reboot and
removing are the same few lines, and there is no saved configuration to be out of date.
"""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from nbdsvc import errors
from nbdsvc.exporter import ConnectionInfo, Export, ExportSpec
from nbdsvc.exports.lio import connection
from nbdsvc.exports.lio.discovery import DiscoveryFailed
from nbdsvc.exports.lio.plan import BLOCK, FILE, Action, Backstore, Config, Grant, Portal, Source, plan
from nbdsvc.exports.lio.plan import desired as desired_config
from nbdsvc.exports.lio.portals import parse
from nbdsvc.exports.lio.spec import Specs
from nbdsvc.model import keys, names

# RFC 7143 section 4.2.7, as far as LIO takes them. They become names of folders, so nothing else may pass.
_INITIATOR = re.compile(r"iqn\.[0-9]{4}-[01][0-9]\.[a-z0-9-]+\.[a-z0-9.:-]+|eui\.[0-9a-f]{16}|naa\.[125][0-9a-f]{15}")
_INITIATOR_MAX = 223


class Lio(Protocol):
    """What is configured on a host, by targets' IQNs and backstores' names."""

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else of this host changes anything meanwhile."""

    def backstores(self) -> list[Backstore]:
        """All of the host, whoever made them."""

    def read(self, iqn: str, name: str) -> Config:
        """One volume's."""

    def discover(self, initiator: str, peer: str, port: int) -> list[tuple[str, str]]:
        """(IQN, ADDRESS:PORT) of each target that discovery tells an initiator whose address is `peer`.

        DiscoveryFailed or OSError says why none.
        """

    def apply(self, iqn: str, name: str, action: Action) -> None:
        """One action of a plan. ExportFailed says what was tried."""


class LioExporter:
    """See nbdsvc/exporter.py for the contract.

    portals: where every target is reached; the first is the one that initiators without multipath are told. prefix: of the
    targets' IQNs (target_prefix of the reference). write_through: writes are answered when they are on stable storage.
    """

    protocol = "iSCSI"

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
        self._specs = Specs(exports_folder)
        self._lio = lio
        self._portals = list(portals)
        self._prefix = prefix
        self._block_size = block_size
        self._write_through = write_through
        # No address is known that an initiator could be told, so it is told what discovery says.
        self._everywhere = portals[0].wildcard

    def validate_connector(self, connector: dict[str, Any]) -> None:
        """A connector needs an `initiator` (row S125) whose name LIO takes; and an `ip`, where portals are all addresses."""
        found = connector.get("initiator")
        if not isinstance(found, str) or not found:
            raise errors.InvalidInput(
                field="connector.initiator", value=None, reason="iSCSI needs the initiator's name"
            )
        if len(found) > _INITIATOR_MAX or not _INITIATOR.fullmatch(found.lower()):
            reason = "must be an iSCSI name: iqn.YYYY-MM.DOMAIN[:NAME], eui.* or naa.*"
            raise errors.InvalidInput(field="connector.initiator", value=found[:80], reason=reason)

        if self._everywhere:
            _check_ip(connector.get("ip"))

    def needs_tcp(self, connector: dict[str, Any]) -> bool:
        return True

    def needs_secret(self, connector: dict[str, Any]) -> bool:
        return True

    def shared_by(self, connector: dict[str, Any]) -> str | None:
        """The initiator: LIO knows one password and one list of LUNs for each."""
        found = connector.get("initiator")
        return found.lower() if isinstance(found, str) else None

    def healthy(self, export_id: str) -> bool:
        noted = self._specs.find(export_id)
        if noted is None or noted[1] or self._source(noted[0].path) is None:
            return False
        return not self._missing(noted[0].volume_id)

    def create_export(self, spec: ExportSpec) -> Export:
        self._settle_with(spec)
        return Export(
            id=spec.id,
            volume_id=spec.volume_id,
            name=self._iqn(spec.volume_id),
            read_only=spec.read_only,
            host=None if self._everywhere else self._portals[0].ip.strip("[]"),
            port=self._portals[0].port,
            location=connection.location(self._iqn(spec.volume_id), self._portals),
        )

    def ensure_export(self, spec: ExportSpec) -> bool:
        return self._settle_with(spec)

    def remove_export(self, export_id: str) -> None:
        """An id that is no attachment's is that of a volume whose target nobody owes, see list_exports."""
        noted = self._specs.find(export_id)
        if noted:
            self._specs.leave(noted[0])
        self._settle(noted[0].volume_id if noted else export_id)
        self._specs.remove(export_id)

    def noted(self, export_id: str) -> ExportSpec | None:
        found = self._specs.find(export_id)
        return found[0] if found else None

    def list_exports(self) -> list[str]:
        """Attachments that are noted; and volumes that have a backstore of ours but no note."""
        ours = [found.serial for found in self._lio.backstores() if found.name == names.volume_name(found.serial)]
        return sorted([*self._specs.ids(), *(set(ours) - set(self._specs.volumes()))])

    def refresh(self, export_id: str) -> None:
        """A device's size LIO sees by itself; a file's it is told."""
        if noted := self._specs.find(export_id):
            self._settle(noted[0].volume_id)

    def initialize_connection(self, spec: ExportSpec, connector: dict[str, Any]) -> ConnectionInfo:
        self.validate_connector(connector)
        if not self.healthy(spec.id):
            raise errors.ExportFailed(export=spec.id, reason="its target is not complete")
        iqn, portals = self._iqn(spec.volume_id), self._portals
        if self._everywhere:
            portals = self._discovered(spec, connector, iqn)
        return connection.info(spec, iqn, portals, block_size=self._block_size, discovered=self._everywhere,
                               multipath=bool(connector.get("multipath")))  # fmt: skip

    def _discovered(self, spec: ExportSpec, connector: dict[str, Any], iqn: str) -> list[Portal]:
        """Row S124: where discovery tells this initiator of the target, asked at the address that faces it."""
        initiator = str(spec.initiator).lower()
        try:
            told = self._lio.discover(initiator, connector["ip"], self._portals[0].port)
            reason = f"discovery does not tell {initiator} of its target"
        except (DiscoveryFailed, OSError) as error:
            told, reason = [], f"discovery failed: {error}"
        addresses = dict.fromkeys(address for name, address in told if name == iqn)
        if not addresses:
            raise errors.InvalidInput(field="volume", value=spec.volume_id, reason=reason)
        return parse(addresses)

    def _settle_with(self, spec: ExportSpec) -> bool:
        """Note it and make LIO so. What was not noted before is not afterwards either when that fails."""
        spec = replace(spec, initiator=(spec.initiator or "").lower())
        if not spec.initiator or not spec.secret:
            raise errors.ExportFailed(export=spec.id, reason="an iSCSI export needs an initiator and a key")
        if self._source(spec.path) is None:
            raise errors.ExportFailed(export=spec.id, reason=f"there is no volume at {spec.path}")
        self._refuse_two_modes(spec)
        known = self._specs.find(spec.id) is not None
        self._specs.write(spec)
        try:
            return self._settle(spec.volume_id)
        except errors.Error:
            if not known:
                self.remove_export(spec.id)
            raise

    def _refuse_two_modes(self, spec: ExportSpec) -> None:
        for other in self._specs.of(spec.volume_id):
            if other.id != spec.id and other.initiator == spec.initiator and other.read_only != spec.read_only:
                mode = "read-only" if other.read_only else "writable"
                reason = f"initiator {spec.initiator} has volume {spec.volume_id} already, {mode}: it cannot have both"
                raise errors.Conflict(reason=reason)

    def _settle(self, volume_id: str) -> bool:
        """Make LIO what the volume's notes owe; whether there was anything to do. What can be done is, before it fails."""
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
        return bool(actions)

    def _missing(self, volume_id: str) -> list[Action]:
        """What is to be done. A device whose name went away is still there for LIO, which holds it open."""
        iqn, name = self._iqn(volume_id), names.volume_name(volume_id)
        specs, found = self._specs.of(volume_id), self._lio.read(iqn, name)
        grants = [_grant(spec) for spec in specs]
        source = (self._source(specs[0].path) if specs else None) or (
            found.backstore.source if found.backstore else None
        )
        return plan(found, desired_config(name, volume_id, source, grants, self._portals))

    def _source(self, path: Path) -> Source | None:
        """None when there is nothing to export. LIO opens a device as a file to write it through its cache."""
        if path.is_block_device():
            return Source(FILE if self._write_through else BLOCK, str(path))
        if path.is_file():
            return Source(FILE, str(path), path.stat().st_size)
        return None

    def _iqn(self, volume_id: str) -> str:
        return self._prefix + names.volume_name(volume_id)


def _check_ip(found: Any) -> None:
    try:
        ipaddress.ip_address(found if isinstance(found, str) else "")
    except ValueError:
        reason = "iscsi_portals is all addresses of the host: which one faces this initiator, its own address tells"
        raise errors.InvalidInput(field="connector.ip", value=str(found)[:80], reason=reason) from None


def _grant(spec: ExportSpec) -> Grant:
    assert spec.initiator and spec.secret
    return Grant(spec.initiator, keys.chap_user(spec.secret), keys.chap_password(spec.secret), spec.read_only)
