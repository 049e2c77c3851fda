"""What can go wrong, as one tree that answers: whose fault is it, and what may the caller do next?

    Error
    ├── RequestError          the caller's: change the request, then ask again
    │   ├── InvalidInput          a field has a bad value
    │   │   └── InvalidReplicationTarget  no target of the backend has this name
    │   ├── NotFound              no such thing, or not visible to this project
    │   ├── InvalidState          the thing is in a status that forbids this now
    │   ├── Conflict              someone else changed it first, or a name is taken
    │   ├── PreconditionFailed    what the request builds on has changed since it was read
    │   ├── QuotaExceeded         the project's limit would be passed
    │   ├── Frozen                an administrator has frozen the backend: nothing on it is changed
    │   ├── Unsupported           this backend, transport or format cannot do that
    │   ├── Unauthorized          no token, or an unknown one
    │   └── Forbidden             known, but not allowed
    ├── BackendError          the storage's or the host's: repair it, then try again
    │   ├── CommandFailed         an external program said no
    │   ├── OutOfSpace            the pool or its file system is full
    │   │   └── NoRoom                no pool that would do has room for a new volume
    │   ├── DeviceBusy            someone still holds the device
    │   ├── ExportFailed          an export could not be made, changed or removed
    │   ├── GroupFailed           a group, or what was to be made of it, is not as it was to be
    │   ├── ReplicationError      a volume's replica does not allow or could not do this
    │   ├── IdentityUnavailable   Keystone cannot say now whose a token is
    │   └── BackendUnavailable    the backend is not set up or not reachable
    │       ├── DatabaseUnavailable   the database is away: what was begun goes on when it is back
    │       ├── ImageServiceFailed    Glance or Keystone is away, or answers wrongly
    │       ├── UnableToFailOver      nor at the site that it was to be failed over to
    │       └── NoValidBackend        no pool can take a new volume, each for a reason of its own
    ├── DataError             bytes are wrong or lost: never retried in silence
    │   ├── ReadFailed
    │   ├── WriteFailed
    │   ├── ChecksumMismatch
    │   ├── BadImage              an image that is malformed, hostile or not what it claims to be
    │   └── BackupDamaged         the store lacks or has changed what a backup needs
    ├── OperationError        how an operation ended, when it did not succeed
    │   ├── Cancelled
    │   ├── TimedOut
    │   ├── Interrupted
    │   └── RollbackFailed        the undo failed too; both reasons are kept
    ├── ConfigError           the administrator's: a setting is wrong
    ├── Replaced              the administrator's: another version is installed, and waits for a restart
    └── InternalError         ours: a bug, please report it

Facts are attributes, messages are templates; an error is written to the journal by `facts_of` and read back by
`from_facts`. HTTP statuses are not here (api/faults.py), and neither are errnos (datapath/native.py).
"""

from nbdsvc.errors.base import Error as Error
from nbdsvc.errors.data import BackupDamaged as BackupDamaged
from nbdsvc.errors.data import BadImage as BadImage
from nbdsvc.errors.data import ChecksumMismatch as ChecksumMismatch
from nbdsvc.errors.data import DataError as DataError
from nbdsvc.errors.data import ReadFailed as ReadFailed
from nbdsvc.errors.data import WriteFailed as WriteFailed
from nbdsvc.errors.journal import facts_of as facts_of
from nbdsvc.errors.journal import from_facts as from_facts
from nbdsvc.errors.operations import Cancelled as Cancelled
from nbdsvc.errors.operations import Interrupted as Interrupted
from nbdsvc.errors.operations import OperationError as OperationError
from nbdsvc.errors.operations import RollbackFailed as RollbackFailed
from nbdsvc.errors.operations import TimedOut as TimedOut
from nbdsvc.errors.requests import Conflict as Conflict
from nbdsvc.errors.requests import Forbidden as Forbidden
from nbdsvc.errors.requests import Frozen as Frozen
from nbdsvc.errors.requests import InvalidInput as InvalidInput
from nbdsvc.errors.requests import InvalidReplicationTarget as InvalidReplicationTarget
from nbdsvc.errors.requests import InvalidState as InvalidState
from nbdsvc.errors.requests import NotFound as NotFound
from nbdsvc.errors.requests import PreconditionFailed as PreconditionFailed
from nbdsvc.errors.requests import QuotaExceeded as QuotaExceeded
from nbdsvc.errors.requests import RequestError as RequestError
from nbdsvc.errors.requests import Unauthorized as Unauthorized
from nbdsvc.errors.requests import Unsupported as Unsupported
from nbdsvc.errors.service import ConfigError as ConfigError
from nbdsvc.errors.service import InternalError as InternalError
from nbdsvc.errors.service import Replaced as Replaced
from nbdsvc.errors.storage import BackendError as BackendError
from nbdsvc.errors.storage import BackendUnavailable as BackendUnavailable
from nbdsvc.errors.storage import CommandFailed as CommandFailed
from nbdsvc.errors.storage import DatabaseUnavailable as DatabaseUnavailable
from nbdsvc.errors.storage import DeviceBusy as DeviceBusy
from nbdsvc.errors.storage import ExportFailed as ExportFailed
from nbdsvc.errors.storage import GroupFailed as GroupFailed
from nbdsvc.errors.storage import IdentityUnavailable as IdentityUnavailable
from nbdsvc.errors.storage import ImageServiceFailed as ImageServiceFailed
from nbdsvc.errors.storage import NoRoom as NoRoom
from nbdsvc.errors.storage import NoValidBackend as NoValidBackend
from nbdsvc.errors.storage import OutOfSpace as OutOfSpace
from nbdsvc.errors.storage import ReplicationError as ReplicationError
from nbdsvc.errors.storage import UnableToFailOver as UnableToFailOver
