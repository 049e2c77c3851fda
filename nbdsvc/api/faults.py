"""Errors as HTTP: one table for the statuses, one envelope for the bodies."""

from typing import Any

from nbdsvc import errors

# The most specific class wins; any other error is 500.
STATUS: dict[type[errors.Error], int] = {
    errors.InvalidInput: 400,
    errors.InvalidState: 400,
    errors.Frozen: 400,
    errors.Unsupported: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.QuotaExceeded: 413,
    errors.BadImage: 400,
    errors.OutOfSpace: 400,
    errors.ReplicationError: 400,
    errors.TimedOut: 503,
    errors.BackendError: 503,
    errors.Replaced: 503,
    errors.OperationError: 409,
    errors.DataError: 500,
    errors.Error: 500,
}

# Seconds after which the client may repeat the request; 0 for a quota, as in Cinder, because waiting frees none.
_RETRY_AFTER: dict[type[errors.Error], str] = {
    errors.QuotaExceeded: "0",
    errors.DatabaseUnavailable: "2",
    errors.IdentityUnavailable: "2",
}

# Names of Cinder's fault envelopes; every other status is a computeFault.
NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def status_of(error: errors.Error) -> int:
    """The HTTP status of the error."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def headers(error: errors.Error) -> dict[str, str]:
    """The headers that the reply to this error has besides."""
    seconds = next((seconds for kind, seconds in _RETRY_AFTER.items() if isinstance(error, kind)), None)
    return {"Retry-After": seconds} if seconds else {}


# Names under which clients know these resources.
_NOUNS = {"VolumeType": "Volume type", "GroupType": "Group type", "VolumeAttachment": "Volume attachment"}
# Cinder's error and text for each quota. Its name comes first, because some clients look for it.
_GIGABYTES = (
    "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
    "Requested {requested}G, quota is {limit}G and {used}G has been consumed."
)
_QUOTAS = {
    "gigabytes": _GIGABYTES,
    "volumes": "VolumeLimitExceeded: Maximum number of volumes allowed ({limit}) exceeded for quota 'volumes'.",
    "snapshots": "SnapshotLimitExceeded: Maximum number of snapshots allowed ({limit}) exceeded for quota 'snapshots'.",
    "backups": "BackupLimitExceeded: Maximum number of backups allowed ({limit}) exceeded.",
    "backup_gigabytes": "VolumeBackupSizeExceedsAvailableQuota: Requested backup exceeds allowed Backup gigabytes quota. "
    "Requested {requested}G, quota is {limit}G and {used}G has been consumed.",
    "groups": "GroupLimitExceeded: Maximum number of groups allowed ({limit}) exceeded.",
    "per_volume_gigabytes": "VolumeSizeExceedsLimit: Requested volume size {requested}G is larger than maximum allowed "
    "limit {limit}G.",
}


def message(error: errors.Error, *, everything: bool = False) -> str:
    """The error in Cinder's words, where clients match on these; else in our own.

    everything: with the details of the storage host, for an administrator.
    """
    if isinstance(error, errors.InvalidInput):
        value = "" if error.value is None else f" Value: {error.value}."
        where, _, name = error.field.rpartition(".")
        return f"Invalid input for field/attribute {name}.{value} {error.reason}" + (f" (in {where})" if where else "")
    if isinstance(error, errors.QuotaExceeded) and error.resource in _QUOTAS:
        return _QUOTAS[error.resource].format(**error.facts)
    if isinstance(error, errors.NotFound) and error.resource in _NOUNS:
        return error.template.format(resource=_NOUNS[error.resource], id=error.id)
    return error.message_for_user(everything=everything)


def body(status: int, message: str) -> dict[str, Any]:
    """The JSON body of a reply with an error status."""
    fault: dict[str, Any] = {"code": status, "message": message}
    if status == 413:
        fault["retryAfter"] = "0"
    return {NAMES.get(status, "computeFault"): fault}
