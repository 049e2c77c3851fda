"""BackendError: the storage's or the host's fault. Repair it, then try again."""

from nbdsvc.errors.base import Error


class BackendError(Error):
    """The storage's or the host's fault."""

    outside = "The storage could not do this; its administrator finds the reason in the operation and in the log."


class CommandFailed(BackendError):
    """An external program failed. Facts: argv (list), rc, stderr (its end)."""

    template = "{argv} failed with exit status {rc}: {stderr}"
    argv: list[str]
    rc: int
    stderr: str


class OutOfSpace(BackendError):
    """Facts: pool, requested (bytes or None), free (bytes or None), reason."""

    template = "Pool {pool} has no room: {reason}"
    outside = "The storage has no room for this."
    pool: str
    reason: str


class NoRoom(OutOfSpace):
    """Facts: as of OutOfSpace; pool is the one with the most room, reason names each pool's."""

    template = "No valid backend: {reason}"
    # Projects must not learn how much is free, and where.
    outside = "No valid backend was found."


class DeviceBusy(BackendError):
    """Facts: device, reason."""

    template = "{device} is busy: {reason}"
    outside = "The device is busy: it is still in use."
    device: str
    reason: str


class ExportFailed(BackendError):
    """Facts: export (its id), reason."""

    template = "Export {export} failed: {reason}"
    outside = "Export {export} failed."
    export: str
    reason: str


class ReplicationError(BackendError):
    """A volume's replica does not allow this, or could not do it. Facts: volume (its id), reason."""

    template = "Volume {volume} replication error: {reason}"


class GroupFailed(BackendError):
    """The driver says that it failed, or that its volumes are not of one moment. Facts: group (its id), reason."""

    template = "Group {group} failed: {reason}"
    group: str
    reason: str


class BackendUnavailable(BackendError):
    """Facts: backend, reason."""

    template = "Backend {backend} is unavailable: {reason}"
    outside = "The storage is not available now."
    backend: str
    reason: str


class DatabaseUnavailable(BackendUnavailable):
    """PostgreSQL does not answer now, and nothing is known of this transaction. Facts: as of BackendUnavailable."""


class IdentityUnavailable(BackendError):
    """Keystone cannot say now whose a token is. Facts: reason (no address, nothing of the token)."""

    template = "Keystone cannot validate the token now: {reason}"
    outside = ""
    reason: str


class ImageServiceFailed(BackendUnavailable):
    """Glance or Keystone does not answer, or not as it should. Facts: backend (its URL), reason."""

    template = "The image service {backend} cannot be used: {reason}"
    outside = "The image service cannot be used: {reason}"


class UnableToFailOver(BackendUnavailable):
    """What was there before may be usable or not. Facts: as of BackendUnavailable."""


class NoValidBackend(BackendUnavailable):
    """Facts: as of BackendUnavailable; reason names each pool's."""

    template = "No valid backend: {reason}"
    outside = "No valid backend was found."
