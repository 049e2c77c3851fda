"""Contract of a volume backend: the control path only.

A driver makes, grows, copies and removes the backend's objects. It moves no bytes on behalf of a client, exports
nothing and knows no database, no operation and no setting but the arguments of its constructor (row S060): bytes go
through `local_path` and datapath/, transports are exporters.

Rules that every method keeps, and tests/contract/test_driver.py checks:

* Idempotent. The same call with the same `owner` after a crash, at any moment, ends in the same state: "there already
  and mine" is success. `owner` is the id of the operation that makes the object, stored with the object; an object of
  that name with another owner is a `Conflict`, never touched.
* Removing what is not there is success. Deleting is O(1) for the caller.
* A failure leaves nothing behind but what a repeated call or `delete_*` removes. Full: `OutOfSpace`. Gone or not set
  up: `BackendUnavailable`.
* What a driver can do is declared in `capabilities`, never found out by trying.

Sizes are bytes. The methods have the names of Cinder's volume drivers, so that an author of one knows them.
"""

from nbdsvc.driver.capabilities import Capabilities
from nbdsvc.driver.core import Driver
from nbdsvc.driver.loading import ENTRY_POINT_GROUP, describe, load
from nbdsvc.driver.objects import BackendObject, Manageable
from nbdsvc.driver.refs import SnapshotRef, VolumeRef
from nbdsvc.driver.stats import PoolStats

__all__ = [
    "ENTRY_POINT_GROUP",
    "BackendObject",
    "Capabilities",
    "Driver",
    "Manageable",
    "PoolStats",
    "SnapshotRef",
    "VolumeRef",
    "describe",
    "load",
]
