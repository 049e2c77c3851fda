"""Address, token and project of the API, from NBDSVC_ENDPOINT, NBDSVC_TOKEN and NBDSVC_PROJECT: checked once, before use."""

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from nbdsvc import errors

DEFAULT = "http://127.0.0.1:8776/v3"
_ENDPOINT, _TOKEN, _PROJECT = "NBDSVC_ENDPOINT", "NBDSVC_TOKEN", "NBDSVC_PROJECT"
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Endpoint:
    """The address of the API, and the user of it."""

    # Whether the connection uses TLS.
    secure: bool
    host: str
    port: int
    # The path before the project's segment.
    path: str
    project: str | None
    token: str = field(repr=False)

    @property
    def where(self) -> str:
        """host:port, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def load(endpoint: str | None = None, token: str | None = None, project: str | None = None) -> Endpoint:
    """The given values, else those of the environment, else this host's service. Raises ConfigError with the variable."""
    url = _url(endpoint or os.environ.get(_ENDPOINT) or DEFAULT)
    project = project or os.environ.get(_PROJECT) or None
    secure = url.scheme == "https"
    return Endpoint(
        secure=secure,
        host=url.hostname or "",
        port=url.port or (443 if secure else 80),
        path=url.path.rstrip("/"),
        project=project,
        token=_token(token or os.environ.get(_TOKEN), project),
    )


def _url(text: str) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise _wrong(_ENDPOINT, "it has spaces, or characters that are not ASCII")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise _wrong(_ENDPOINT, str(error)) from None
    for wrong, reason in (
        (url.scheme not in ("http", "https") or not url.hostname, f"write it like {DEFAULT}"),
        ("@" in url.netloc, "it has no user: NBDSVC_TOKEN names the user"),
        (url.query or url.fragment, "it ends with its path"),
        (port == 0, "there is no port 0"),
    ):
        if wrong:
            raise _wrong(_ENDPOINT, reason)
    return url


def _token(given: str | None, project: str | None) -> str:
    if given:
        if not _VISIBLE.fullmatch(given):
            raise _wrong(_TOKEN, "it has spaces, or characters that are not ASCII")
        return given
    token = f"{os.environ.get('USER', 'admin')}:{project or 'admin'}"
    return token if _VISIBLE.fullmatch(token) else "admin:admin"


def _wrong(name: str, reason: str) -> errors.ConfigError:
    return errors.ConfigError(setting=name, reason=reason)
