"""Unreachable: a readable cause why a server does not answer, and whether the same request may succeed later."""

import errno
import http.client
import os
import ssl
from urllib.parse import quote

import urllib3

# Trying again helps nothing while this process has no descriptors or memory.
_OUR_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# Another protocol, a head that is too long, lengths that contradict each other.
_NO_HEAD = (http.client.HTTPException, urllib3.exceptions.InvalidHeader)


class Unreachable(Exception):
    """No answer from a server. is_transient: the same request may succeed later, after `after` seconds (0: unknown).

    may_restart: it may succeed where the server answered before; where none was ever seen, its address is wrong.
    """

    def __init__(self, reason: str, *, is_transient: bool, may_restart: bool = False, after: float = 0.0) -> None:
        super().__init__(reason)
        self.is_transient = is_transient
        self.may_restart = may_restart
        self.after = after


def as_unreachable(error: Exception, silence: float) -> Unreachable:
    """The Unreachable for an exception of urllib3, a socket or TLS. silence: seconds after which a read ends."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Unreachable(_tls_reason(cause), is_transient=False)
    if isinstance(error, urllib3.exceptions.ProxyError):
        return Unreachable(f"the proxy cannot be used: {_printable(cause)}", is_transient=False)
    if isinstance(cause, OSError):
        return _of_socket(cause, silence)
    if isinstance(cause, urllib3.exceptions.TimeoutError):
        return Unreachable(f"the server said nothing for {silence:g} s", is_transient=True)
    if isinstance(cause, _NO_HEAD) and not isinstance(cause, http.client.IncompleteRead):
        return Unreachable("its answer has no head of HTTP that can be read", is_transient=False, may_restart=True)
    return Unreachable("the server closed the connection", is_transient=True)


def _of_socket(cause: OSError, silence: float) -> Unreachable:
    if isinstance(cause, TimeoutError):
        return Unreachable(f"the server said nothing for {silence:g} s", is_transient=True)
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable("the connection was refused", is_transient=False, may_restart=True)
    if cause.errno and not isinstance(cause, ConnectionError):
        return Unreachable(f"no connection: {os.strerror(cause.errno)}", is_transient=cause.errno not in _OUR_LIMITS)
    return Unreachable("the server closed the connection", is_transient=True)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return f"TLS failed: {(getattr(error, 'reason', None) or str(error)).replace('_', ' ').lower()}"


def _printable(cause: BaseException) -> str:
    """Text of another host, cut and without control characters."""
    return quote(str(cause)[:100], safe=" :/()[]'\",.-")


def _cause(error: BaseException) -> BaseException:
    """The exception inside urllib3's: of a socket, TLS or HTTP; else the error itself."""
    for found in (error, *error.args):
        inner = found.__cause__ or found.__context__ if isinstance(found, BaseException) else None
        if isinstance(found, OSError) and not isinstance(found, urllib3.exceptions.HTTPError):
            return found
        if isinstance(inner, OSError):
            return inner
        if isinstance(found, http.client.HTTPException) and not isinstance(found, urllib3.exceptions.HTTPError):
            return found
    return error
