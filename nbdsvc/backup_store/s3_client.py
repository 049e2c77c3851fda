"""The client of S3, botocore's: made when it is first needed, and what its errors mean."""

import configparser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdsvc import errors, private_file
from nbdsvc.backup_store.contract import Missing

SETTING = "backup_s3_credentials_file"
# Seconds for a connection: a server that is there answers at once.
_CONNECT_SECONDS = 5.0
# Requests at once: more than the threads of a backup and of a restore.
_CONNECTIONS = 32
# Tries of a request that was not answered, or with an error of the server's (5xx): with their pauses a few seconds.
_TRIES = 4
_FULL = (
    "QuotaExceeded",
    "InsufficientStorage",
    "InsufficientCapacity",
    "XMinioStorageFull",
    "ServiceQuotaExceededException",
)
_REFUSED = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthorizationHeaderMalformed",
)
# What is no fault of the server: no such object, no such range of it, a condition of a put that is not met.
_CASES: dict[str, type[Exception]] = {"NoSuchKey": Missing, "404": Missing, "InvalidRange": EOFError, "416": EOFError}
_CASES |= {"PreconditionFailed": FileExistsError, "412": FileExistsError, "ConditionalRequestConflict": FileExistsError}


@dataclass(frozen=True)
class S3Place:
    """Where a store of S3 is. endpoint: empty for Amazon's own. timeout: seconds for which a server may say nothing.

    page: names in one answer of a listing, by default the most that S3 gives.
    """

    bucket: str
    prefix: str
    credentials: Path
    endpoint: str = ""
    region: str = "us-east-1"
    ca_file: Path | None = None
    timeout: float = 30.0
    page: int = 1000


@dataclass(frozen=True)
class Wrong:
    """What an error of the client means. again: the answer broke off. forget: the credentials were refused. expected: a case
    of its own, and no fault.
    """

    error: Exception
    again: bool = False
    forget: bool = False
    expected: bool = False


def load_credentials(path: Path) -> tuple[str, str]:
    """Access key and secret key of a file as Amazon's tools have it, section `default`. ConfigError where it is none."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(private_file.read(SETTING, path).decode())
        section = parser["default"]
        found = section["aws_access_key_id"].strip(), section["aws_secret_access_key"].strip()
    except (configparser.Error, KeyError, UnicodeDecodeError):  # none of which may be shown: they have the file's text
        found = "", ""
    if not all(found):
        reason = f"{path}: it must have aws_access_key_id and aws_secret_access_key in the section [default]"
        raise errors.ConfigError(setting=SETTING, reason=reason)
    return found


def make_client(place: S3Place, name: str) -> Any:
    """The client, which threads may share. BackendUnavailable where the credentials cannot be read (any more)."""
    from botocore.config import Config  # only loaded where backups are in S3, and one is used
    from botocore.session import Session

    try:
        access, secret = load_credentials(place.credentials)
    except errors.ConfigError as error:
        raise errors.BackendUnavailable(backend=name, reason=str(error)) from None
    # Nothing of this machine's user, and no variable, decides what a service does.
    session = Session(session_vars={"profile": (None, None, None, None)})
    for variable in ("config_file", "credentials_file"):
        session.set_config_variable(variable, "/dev/null")
    config = Config(
        ignore_configured_endpoint_urls=True,
        connect_timeout=min(_CONNECT_SECONDS, place.timeout),
        read_timeout=place.timeout,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        s3={"addressing_style": "path"} if place.endpoint else {},
        # Checksums that servers older than these headers refuse; a put has its MD5, and all that is read has a digest.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.create_client(
        "s3",
        region_name=place.region,
        endpoint_url=place.endpoint or None,
        verify=str(place.ca_file) if place.ca_file else None,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=config,
    )


def raised_by(error: Exception, name: str, place: S3Place) -> Wrong:
    """What an error of a request means; the error itself where it is none of the client's."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _answered(error.response, name, place)
    if isinstance(error, exceptions.SSLError):
        reason = f"the certificate of {place.endpoint or 'the server'} is not trusted (backup_s3_ca_file)"
        return Wrong(errors.BackendUnavailable(backend=name, reason=reason))
    broken = (exceptions.IncompleteReadError, exceptions.ResponseStreamingError)
    if isinstance(error, (exceptions.BotoCoreError, exceptions.HTTPClientError)):
        reason = f"{place.endpoint or 'S3'} does not answer: {type(error).__name__}"
        return Wrong(errors.BackendUnavailable(backend=name, reason=reason), again=isinstance(error, broken))
    return Wrong(error)


def _answered(response: Any, name: str, place: S3Place) -> Wrong:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _CASES:
        return Wrong(_CASES[code](), expected=True)
    if code in _FULL or status == 507:
        return Wrong(errors.OutOfSpace(pool=name, requested=None, free=None, reason=code or "it is full"))
    reason = f"bucket {place.bucket}: {code or 'error'} ({status})"
    if code == "NoSuchBucket":
        reason = f"there is no bucket {place.bucket}"
    elif code in _REFUSED:
        reason = f"the credentials of {place.credentials} are refused ({code})"
    elif status in (401, 403):
        reason = f"the credentials of {place.credentials} may not use bucket {place.bucket} ({code or status})"
    forget = code in _REFUSED or status in (401, 403)
    return Wrong(errors.BackendUnavailable(backend=name, reason=reason), forget=forget)
