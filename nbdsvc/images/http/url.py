"""http(s) URLs of images, checked before anything is sent to the network.

Source: RFC 3986 (syntax), RFC 3987 (characters outside of ASCII are percent-encoded as UTF-8).
"""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, unquote, urljoin, urlsplit

from nbdsvc import errors

_SCHEMES = ("http", "https")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Longer than any signed URL, shorter than a line that servers refuse.
URL_MAX = 16 * 1024
# What may stand in a path and a query as it is, and the percent sign of what is encoded already (RFC 3986, pchar).
_PATH_SAFE = "/%:@!$&'()*+,;=~-._?"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Url:
    """scheme: http or https; host: in ASCII, without brackets; target: path and query, encoded; port: always given.

    authorization: of the user name and password in the URL, for its own origin only; never shown.
    """

    scheme: str
    host: str
    port: int
    target: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: where credentials may be sent."""
        return self.scheme, self.host, self.port

    @property
    def text(self) -> str:
        """The URL without credentials. Its query may be a secret: use `shown` in messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

    @property
    def shown(self) -> str:
        """The URL for messages: without credentials and query."""
        return self.text.partition("?")[0]


def is_http(reference: str) -> bool:
    """Whether a reference means a web server: the letter case of a scheme does not matter (RFC 3986, 3.1)."""
    return reference[:8].lower().startswith(("http:", "https:"))


def parse(text: str, field: str = "imageRef") -> Url:
    """The URL, or InvalidInput of `field` with the reason. Nothing of a wrong URL is in the message: it may be a secret."""
    try:
        return _parse(text)
    except ValueError as error:
        raise errors.InvalidInput(field=field, value="URL", reason=str(error)) from None


def redirected(url: Url, location: str) -> Url:
    """The URL that an answer's Location leads to. ValueError where images are not fetched from there."""
    if not location:
        raise ValueError("it redirects without saying where to")
    found = _parse(urljoin(url.text, location).partition("#")[0])
    if url.scheme == "https" and found.scheme == "http":
        raise ValueError("it redirects from https to http, which nothing protects")
    if found.authorization is None and found.origin == url.origin:
        return Url(found.scheme, found.host, found.port, found.target, url.authorization)
    return found


def _parse(text: str) -> Url:
    if len(text) > URL_MAX:
        raise ValueError(f"it has {len(text)} characters, at most {URL_MAX} are taken")
    if _CONTROL.search(text):
        raise ValueError("it has control characters")
    try:
        parts = urlsplit(text.strip(" "))
        port = parts.port
    except ValueError as error:
        raise ValueError(_plain(str(error))) from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise ValueError(f"it must be http or https, not {scheme or 'nothing'}")
    if port == 0:
        raise ValueError("0 is no port")
    if parts.fragment:
        raise ValueError("it has a fragment (#), which names nothing on a server")
    target = quote(parts.path or "/", safe=_PATH_SAFE) + (
        f"?{quote(parts.query, safe=_PATH_SAFE)}" if parts.query else ""
    )
    return Url(scheme, _host(parts.hostname), port or _DEFAULT_PORTS[scheme], target, _authorization(parts))


def _plain(reason: str) -> str:
    """urllib's reasons, without the wrong text that some of them repeat."""
    return "its port is not a number between 1 and 65535" if "ort" in reason else "its host is not well-formed"


def _host(host: str | None) -> str:
    if not host:
        raise ValueError("it names no host")
    if ":" in host:
        try:
            return str(IPv6Address(host))
        except ValueError:
            raise ValueError("its host is no IPv6 address") from None
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("its host is not a name") from None
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", name) or len(name) > 253:
        raise ValueError("its host is not a name")
    return name.lower()


def _authorization(parts: object) -> str | None:
    user, password = getattr(parts, "username", None), getattr(parts, "password", None)
    if user is None:
        return None
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
