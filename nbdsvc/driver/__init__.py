"""Contract of a volume backend: the control path only.

A driver makes, grows, copies and removes the backend's objects. It moves no bytes on behalf of a client, exports
nothing and knows no database, no operation and no setting but the arguments of its constructor: bytes go
through `location` and datapath/, transports are exporters.

Every driver implements `Driver`. Each further capability is a protocol of its own; `capabilities_of` returns those that
a driver implements, so that no capability is found out by trying. With `Driver` alone, volumes can be created, filled,
attached, extended, copied and deleted; the API refuses requests that need a protocol which the driver does not
implement.

Rules that every method keeps, and that tests/contract/ checks:

* Idempotent. The same call with the same `owner` after a crash, at any moment, ends in the same state: an object that
  exists already and has this owner is success. `owner` is the id of the operation that makes the object, and is stored
  with the object; an object of that name with another owner is a `Conflict`, and is not touched.
* To remove an object that does not exist is success. A deletion is O(1) for the caller.
* A failure leaves only objects that a repeated call or `delete_*` removes. A full pool raises `OutOfSpace`, a backend
  that is away or not set up `BackendUnavailable`.
* A method that makes an object may return a `ProviderState`, or None. The service stores it in the row before the step
  ends, and every later `VolumeRef` and `SnapshotRef` has it; a repeated call returns the same state. A call that was
  killed before its state was stored is repeated, or undone: `delete_*` and `unmanage*` are then called without a state,
  and have to find the object by its id. A state never has a secret: backups have the rows.

Sizes are bytes. The methods have the names of Cinder's volume drivers, so that authors of those know them.
"""

from nbdsvc.driver.backup import BackupDriver
from nbdsvc.driver.capabilities import PROTOCOLS, Capabilities, capabilities_of, unsupported
from nbdsvc.driver.core import Driver
from nbdsvc.driver.facts import DriverFacts
from nbdsvc.driver.freeze import FreezeDriver
from nbdsvc.driver.functions import FILTER, GOODNESS, DefaultFunctionsDriver, Function, functions_of
from nbdsvc.driver.groups import GroupDriver, GroupRef, GroupReplicationDriver, GroupSnapshotRef, Update, Updates
from nbdsvc.driver.hooks import ConnectionDriver, ProviderInfoDriver, ProviderUpdate, SecureFilesDriver
from nbdsvc.driver.images import CloneImageDriver
from nbdsvc.driver.init_capabilities import init_capabilities, property_faults
from nbdsvc.driver.loading import ENTRY_POINT_GROUP, check_complete, load
from nbdsvc.driver.manage import ManageDriver, ManageSnapshotDriver
from nbdsvc.driver.migrate import MigratedDriver, MigrateDriver, VolumeCopyDriver
from nbdsvc.driver.objects import BackendObject, Manageable
from nbdsvc.driver.places import NeighbourDriver, PoolPlaces
from nbdsvc.driver.properties import Property, VendorPropertiesDriver, prefixed_property
from nbdsvc.driver.proxy import ProxyVD, class_name
from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.replica_update import is_replicated, replication_columns
from nbdsvc.driver.replication import DEFAULT_TARGET, ReplicaDriver, ReplicatedDriver, VolumeUpdate
from nbdsvc.driver.shared import SharedStorageDriver
from nbdsvc.driver.snapshots import CloneDriver, ConsistentSnapshotDriver, RevertDriver, SnapshotDriver
from nbdsvc.driver.state import ProviderState
from nbdsvc.driver.stats import LIMITLESS, Capacity, PoolStats, unmeasured
from nbdsvc.driver.transfer import TransferDriver

__all__ = [
    "DEFAULT_TARGET",
    "ENTRY_POINT_GROUP",
    "FILTER",
    "GOODNESS",
    "LIMITLESS",
    "PROTOCOLS",
    "BackendObject",
    "BackupDriver",
    "Capabilities",
    "Capacity",
    "CloneDriver",
    "CloneImageDriver",
    "ConnectionDriver",
    "ConsistentSnapshotDriver",
    "DefaultFunctionsDriver",
    "Driver",
    "DriverFacts",
    "FreezeDriver",
    "Function",
    "GroupDriver",
    "GroupRef",
    "GroupReplicationDriver",
    "GroupSnapshotRef",
    "ManageDriver",
    "ManageSnapshotDriver",
    "Manageable",
    "MigrateDriver",
    "MigratedDriver",
    "NeighbourDriver",
    "PoolPlaces",
    "PoolStats",
    "Property",
    "ProviderInfoDriver",
    "ProviderState",
    "ProviderUpdate",
    "ProxyVD",
    "ReplicaDriver",
    "ReplicatedDriver",
    "RevertDriver",
    "SecureFilesDriver",
    "SharedStorageDriver",
    "SnapshotDriver",
    "SnapshotRef",
    "TransferDriver",
    "Update",
    "Updates",
    "VendorPropertiesDriver",
    "VolumeCopyDriver",
    "VolumeRef",
    "VolumeUpdate",
    "capabilities_of",
    "check_complete",
    "class_name",
    "functions_of",
    "init_capabilities",
    "is_replicated",
    "load",
    "prefixed_property",
    "property_faults",
    "replication_columns",
    "unmeasured",
    "unsupported",
]
