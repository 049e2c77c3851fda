"""What this process serves next to the storage: a Host, and the registry of its Backends.

A Host is one name in `host@backend#pool`; a Backend is one driver with its pools and the transports that export them. An
operation belongs to the backend that its row names, so that a step finds its driver without asking for a setting.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from nbdsvc import errors
from nbdsvc.backup_store.vault import Vault
from nbdsvc.datapath.digest_store import DigestStore
from nbdsvc.datapath.rate_limit import Limit
from nbdsvc.driver import (
    Capabilities,
    CloneDriver,
    ConsistentSnapshotDriver,
    Driver,
    FreezeDriver,
    GroupDriver,
    GroupReplicationDriver,
    ManageDriver,
    ManageSnapshotDriver,
    ReplicaDriver,
    ReplicatedDriver,
    RevertDriver,
    SnapshotDriver,
    TransferDriver,
    capabilities_of,
    class_name,
    unsupported,
)
from nbdsvc.explain.facts import Device
from nbdsvc.explain.first_seen import FirstSeen
from nbdsvc.exporter import Exporter, driver_volume_type
from nbdsvc.images.resolve import Images
from nbdsvc.model.entities import Volume
from nbdsvc.operations.operation_type import Run
from nbdsvc.process import Runner
from nbdsvc.spare import Spare
from nbdsvc.store.database import Database
from nbdsvc.store.unrecorded_ends import UnrecordedEnds


@dataclass(frozen=True)
class Backend:
    """A driver of a host, and the exporters of its volumes."""

    name: str
    driver: Driver
    # The preferred exporter comes first.
    exporters: tuple[Exporter, ...]
    # Bytes a second and cores that all copies of this backend may take together.
    rate: Limit = field(default_factory=Limit)
    cpu: Limit = field(default_factory=Limit)
    # The most copies that run at once.
    max_copies: int = 4
    # Capabilities that volume types can require, besides those that the driver reports.
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    # Name under which the driver's initiator data is kept: backends with the same name share the data.
    driver_data_namespace: str = ""
    # Expressions for the scheduler by name, where its own options have none.
    functions: Mapping[str, str] = field(default_factory=dict)
    # Cluster of hosts that see its storage; empty: only this host does.
    cluster: str = ""
    # Whether images are kept in its pools.
    caches_images: bool = False

    @property
    def exporter(self) -> Exporter:
        """The transport of an attachment that calls for no other one."""
        return self.exporters[0]

    @property
    def namespace(self) -> str:
        """Of its driver's data of initiators (S070)."""
        return self.driver_data_namespace or self.name or class_name(self.driver)

    @property
    def able(self) -> Capabilities:
        """What its driver, which is set up, can do."""
        return capabilities_of(self.driver)

    # The driver as what only some can do; Unsupported where it does not implement this.

    def snapshots(self) -> SnapshotDriver:
        """Snapshots."""
        if isinstance(self.driver, SnapshotDriver):
            return self.driver
        raise self._unsupported("SnapshotDriver")

    def consistent_snapshots(self) -> ConsistentSnapshotDriver | None:
        """The driver, where it takes snapshots of several volumes at one moment; else None."""
        return self.driver if isinstance(self.driver, ConsistentSnapshotDriver) else None

    def clones(self) -> CloneDriver:
        """Clones without a copy."""
        if isinstance(self.driver, CloneDriver):
            return self.driver
        raise self._unsupported("CloneDriver")

    def reverts(self) -> RevertDriver:
        """Reverts without a copy."""
        if isinstance(self.driver, RevertDriver):
            return self.driver
        raise self._unsupported("RevertDriver")

    def manages(self) -> ManageDriver:
        """Existing objects as volumes."""
        if isinstance(self.driver, ManageDriver):
            return self.driver
        raise self._unsupported("ManageDriver")

    def manages_snapshots(self) -> ManageSnapshotDriver:
        """Existing objects as snapshots."""
        if isinstance(self.driver, ManageSnapshotDriver):
            return self.driver
        raise self._unsupported("ManageSnapshotDriver")

    def freezing(self) -> FreezeDriver | None:
        """The driver, where it wants to be notified of a freeze; else None."""
        return self.driver if isinstance(self.driver, FreezeDriver) else None

    def transfers(self) -> TransferDriver | None:
        """The driver, where it keeps something of a volume's owner; else None."""
        return self.driver if isinstance(self.driver, TransferDriver) else None

    def groups(self) -> GroupDriver | None:
        """The driver, where it keeps groups of its own; else None."""
        return self.driver if isinstance(self.driver, GroupDriver) else None

    def replicated_groups(self) -> GroupReplicationDriver:
        """Groups whose volumes are replicated together."""
        if isinstance(self.driver, GroupReplicationDriver) and self.able.replication:
            return self.driver
        raise self._unsupported("GroupReplicationDriver")

    def replicas(self) -> ReplicaDriver:
        """Volumes with replicas of their own."""
        if isinstance(self.driver, ReplicaDriver) and self.able.replication:
            return self.driver
        raise self._unsupported("ReplicaDriver")

    def replicated(self) -> ReplicatedDriver:
        """All of the backend, at another site too."""
        if isinstance(self.driver, ReplicatedDriver) and self.able.replication:
            return self.driver
        raise self._unsupported("ReplicatedDriver")

    @property
    def replication_targets(self) -> list[str]:
        """Where it can fail over to; none where it cannot."""
        has_targets = isinstance(self.driver, ReplicatedDriver) and self.able.replication
        return list(self.replicated().replication_targets) if has_targets else []

    def _unsupported(self, protocol: str) -> errors.Unsupported:
        return unsupported(self.name, class_name(self.driver), protocol)


@dataclass(frozen=True)
class Host:
    """The side that does the work, next to the storage."""

    name: str
    # The backends by name.
    backends: Mapping[str, Backend]
    database: Database
    images: Images
    runner: Runner
    # Folder of the journals by which copies are resumed.
    journals: Path
    digests: DigestStore
    vault: Vault
    # Whether a volume in use is backed up from a snapshot; else from a clone.
    backup_by_snapshot: bool = True
    zone: str = "nova"
    ended: UnrecordedEnds = field(default_factory=UnrecordedEnds)
    spare: Spare = field(default_factory=Spare)
    # Transports that no backend offers any more, and by which volumes are still attached.
    retired: tuple[Exporter, ...] = ()
    # By which volumes come from other hosts; None where this one exports nothing over the network.
    receiver: Exporter | None = None
    # Folder of the lock files of operations.
    locks: Path | None = None
    # Volumes that are block devices of this host.
    devices: Callable[[], Sequence[Device]] = tuple
    # Held while the limits of exports are read from rows and set.
    limiting: threading.Lock = field(default_factory=threading.Lock)
    # Since when differences are known that explain/ found.
    first_seen: FirstSeen = field(default_factory=FirstSeen)

    def backend(self, name: str) -> Backend:
        """The backend of that name; the only one for an empty name. BackendUnavailable where none is configured so."""
        if not name and len(self.backends) == 1:
            return next(iter(self.backends.values()))
        found = self.backends.get(name)
        if found is None:
            known = ", ".join(self.backends)
            raise errors.BackendUnavailable(
                backend=name, reason=f"host {self.name} serves no such backend, but {known}"
            )
        return found

    def of(self, volume: Volume) -> Backend:
        """The backend that holds the volume; BackendUnavailable where it is not configured any more, and for a volume that
        another host serves, also where both see its storage.
        """
        self.check_own(volume)
        return self.backend(volume.backend)

    def check_own(self, volume: Volume) -> None:
        """BackendUnavailable for a volume that another host serves: only one host at a time touches a volume's object."""
        if volume.host != self.name:
            reason = f"host {self.name} does not serve volume {volume.id}"
            raise errors.BackendUnavailable(backend=volume.full_host, reason=reason)

    @property
    def exporters(self) -> tuple[Exporter, ...]:
        """Each once: those of all backends, of which one may serve several, the retired ones, and the receiver."""
        offered = {id(each): each for backend in self.backends.values() for each in backend.exporters}
        others = (*self.retired, *((self.receiver,) if self.receiver else ()))
        return tuple({**offered, **{id(each): each for each in others}}.values())

    def exporter(self, protocol: str) -> Exporter:
        """The transport of an attachment that has this one recorded; ExportFailed where this host has it not."""
        for exporter in self.exporters:
            if driver_volume_type(exporter.protocol) == protocol:
                return exporter
        raise errors.ExportFailed(export=protocol, reason=f"host {self.name} has no such transport")

    def remove_export(self, id: str) -> None:
        """Remove an attachment's export, whichever transport it has; one that is not there is removed."""
        for exporter in self.exporters:
            exporter.remove(id)


def host_of(run: Run[Any]) -> Host:
    """The Host of the engine that runs this operation."""
    return cast("Host", run.environment)


def backend_of(run: Run[Any]) -> Backend:
    """The backend of this step, which is the operation's own one where the step names no place (operation_type.Step.host).

    BackendUnavailable where it is not configured any more.
    """
    return host_of(run).backend(run.operation.step_backend)
