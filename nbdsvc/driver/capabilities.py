"""The capabilities of a driver that is set up: the optional protocols that it implements, and its facts."""

from dataclasses import dataclass

from nbdsvc import errors
from nbdsvc.driver.backup import BackupDriver
from nbdsvc.driver.core import Driver
from nbdsvc.driver.freeze import FreezeDriver
from nbdsvc.driver.functions import DefaultFunctionsDriver
from nbdsvc.driver.groups import GroupDriver, GroupReplicationDriver
from nbdsvc.driver.hooks import ConnectionDriver, ProviderInfoDriver, SecureFilesDriver
from nbdsvc.driver.images import CloneImageDriver
from nbdsvc.driver.manage import ManageDriver, ManageSnapshotDriver
from nbdsvc.driver.migrate import MigratedDriver, MigrateDriver, VolumeCopyDriver
from nbdsvc.driver.properties import VendorPropertiesDriver
from nbdsvc.driver.replication import ReplicaDriver, ReplicatedDriver
from nbdsvc.driver.shared import SharedStorageDriver
from nbdsvc.driver.snapshots import CloneDriver, ConsistentSnapshotDriver, RevertDriver, SnapshotDriver
from nbdsvc.driver.transfer import TransferDriver

# The optional protocols by name, and what a driver without one cannot do.
PROTOCOLS: dict[str, tuple[type, str]] = {
    "SnapshotDriver": (SnapshotDriver, "has no snapshots"),
    "ConsistentSnapshotDriver": (ConsistentSnapshotDriver, "takes no snapshots of several volumes at one moment"),
    "CloneDriver": (CloneDriver, "does not clone at once"),
    "CloneImageDriver": (CloneImageDriver, "clones no images by itself"),
    "RevertDriver": (RevertDriver, "does not revert at once"),
    "ManageDriver": (ManageDriver, "manages no existing volumes"),
    "ManageSnapshotDriver": (ManageSnapshotDriver, "manages no existing snapshots"),
    "ReplicaDriver": (ReplicaDriver, "does not replicate single volumes"),
    "ReplicatedDriver": (ReplicatedDriver, "does not fail over"),
    "ConnectionDriver": (ConnectionDriver, "keeps nothing of initiators"),
    "ProviderInfoDriver": (ProviderInfoDriver, "gives its objects no new ids at a start"),
    "SecureFilesDriver": (SecureFilesDriver, "does not say who may own its files"),
    "DefaultFunctionsDriver": (DefaultFunctionsDriver, "has no functions of its own for the scheduler"),
    "VendorPropertiesDriver": (VendorPropertiesDriver, "has no properties of a vendor"),
    "FreezeDriver": (FreezeDriver, "does nothing of its own when it is frozen"),
    "MigrateDriver": (MigrateDriver, "moves no volumes without a copy"),
    "VolumeCopyDriver": (VolumeCopyDriver, "prepares no volumes for a copy"),
    "MigratedDriver": (MigratedDriver, "finalizes no volumes that were copied"),
    "SharedStorageDriver": (SharedStorageDriver, "cannot say whether two hosts see the same storage"),
    "GroupDriver": (GroupDriver, "keeps no groups of its own"),
    "GroupReplicationDriver": (GroupReplicationDriver, "does not replicate groups"),
    "BackupDriver": (BackupDriver, "prepares nothing for backups"),
    "TransferDriver": (TransferDriver, "keeps nothing of a volume's owner"),
}


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of a backend."""

    protocols: frozenset[str]
    """Names of the optional protocols that its driver implements."""
    thin: bool
    """Space is taken when it is written."""
    instant_snapshot: bool
    """Snapshots are points in time at once, also of a volume in use, and leave nothing to be filled."""
    instant_clone: bool
    """Clones cost no copy, and may be made of a volume in use."""
    instant_revert: bool
    """A revert costs no copy."""
    multiattach: bool
    """Several clients may have one volume open."""
    replication: bool
    """Volumes of a type that wants a replica get one."""


def capabilities_of(driver: Driver) -> Capabilities:
    """The capabilities of this driver, by the protocols that it implements and the facts that `do_setup` found."""
    protocols = frozenset(name for name, (protocol, _) in PROTOCOLS.items() if isinstance(driver, protocol))
    facts = driver.facts

    def instant(*needed: str) -> bool:
        return facts.shares_blocks and protocols.issuperset(needed)

    return Capabilities(
        protocols,
        thin=facts.thin,
        instant_snapshot=instant("SnapshotDriver"),
        instant_clone=instant("CloneDriver"),
        instant_revert=instant("SnapshotDriver", "RevertDriver"),
        multiattach=facts.multiattach,
        replication=facts.replicates and bool(protocols & {"ReplicaDriver", "ReplicatedDriver"}),
    )


def unsupported(backend: str, driver: str, protocol: str) -> errors.Unsupported:
    """The Unsupported error for a missing capability, for the caller to raise. protocol: one of PROTOCOLS."""
    reason = f"backend {backend} {PROTOCOLS[protocol][1]}: its driver {driver} does not implement {protocol}"
    return errors.Unsupported(reason=reason)
