"""Connections to web servers for one image: urllib3's pools, with addresses that are judged and reads that can be ended.

urllib3 does the pooling, the TLS and the proxies. Redirects and retries are ours (file.py), because both must hold to the
file that was opened.
"""

import contextlib
import errno
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from nbdsvc.datapath.source import CALLBACK_THREADS
from nbdsvc.images.http.reach import Reach
from nbdsvc.images.http.url import Url

# A server that lives takes a connection within this, also from the other side of the world.
CONNECT_SECONDS = 10.0
# How often a wait that a socket does not end looks whether it should go on.
_TICK_SECONDS = 0.05
# Trying again helps nothing while this process has no descriptors or memory.
_OUR_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True)
class Access:
    """How images are fetched. reach: where URLs may lead; None: anywhere, for a user's own copy.

    ca_file: certificates to trust in place of the system's. silence: seconds for which a server may say nothing.
    least_rate: bytes a second below which a request is given up, measured over `silence` seconds; 0: none.
    """

    reach: Reach | None = None
    ca_file: Path | None = None
    silence: float = 30.0
    least_rate: int = 0


class Unreachable(Exception):
    """No answer from a server. passing: the same request may succeed later, after so many seconds (0: it is not said).

    may_restart: it may succeed where the server answered before; where none was ever seen, its address is wrong.
    """

    def __init__(self, reason: str, *, passing: bool, may_restart: bool = False, after: float = 0.0) -> None:
        super().__init__(reason)
        self.passing = passing
        self.may_restart = may_restart
        self.after = after


class Client:
    """Requests for one image, from several threads. `abort` ends them all, also those that wait for a server."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._aborted = threading.Event()
        self._handles: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}

    @property
    def aborted(self) -> threading.Event:
        return self._aborted

    def get(self, url: Url, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer's head; its body is still to be read. Unreachable without one."""
        given = {"Accept-Encoding": "identity", "User-Agent": "nbdsvc", **headers}
        if url.authorization:
            given["Authorization"] = url.authorization
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=self._access.silence)
        manager = self._manager(url)
        try:
            return manager.request(
                "GET", url.text, headers=given, timeout=timeout, redirect=False, retries=False, preload_content=False
            )
        except Exception as error:
            raise self._unreachable(error) from error

    def read(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """Some bytes of a body, at its end none. Unreachable where the server breaks off or says nothing."""
        try:
            return response.read1(most, decode_content=False)
        except Exception as error:
            raise self._unreachable(error) from error

    def abort(self) -> None:
        """End every request, now and for good. May be called by any thread, and again."""
        self._aborted.set()
        with self._lock:
            handles = list(self._handles)
        for handle in handles:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.abort()
        with self._lock:
            handles, self._handles = self._handles, set()
        for handle in handles:
            handle.close()
        for manager in self._managers.values():
            manager.clear()

    def _manager(self, url: Url) -> urllib3.PoolManager:
        proxy = _proxy_of(url)
        key = proxy, url.scheme
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._make_manager(*key)
            return self._managers[key]

    def _make_manager(self, proxy: str, scheme: str) -> urllib3.PoolManager:
        # Loading the system's certificates takes longer than a small file.
        is_tls = scheme == "https" or proxy.startswith("https")
        context = ssl.create_default_context(cafile=self._access.ca_file) if is_tls else None
        kept: dict[str, Any] = {"num_pools": 4, "maxsize": 2 * CALLBACK_THREADS, "ssl_context": context}
        made = urllib3.ProxyManager(proxy, **kept) if proxy else urllib3.PoolManager(**kept)
        made.pool_classes_by_scheme = _pools(self._dial)
        return made

    def _dial(self, connection: HTTPConnection) -> socket.socket:
        """A connection to an address that was judged. Through a proxy the name is judged as this host resolves it."""
        target = connection.host
        reach = None if connection.proxy else self._access.reach
        addresses = self._resolve(target, connection.port or 0)
        allowed = [info for info in addresses if reach is None or reach.allows(target, str(info[4][0]))]
        if not allowed:
            raise Unreachable(f"{target} leads to an address that is not fetched from", passing=False)
        sock = _connected(allowed)
        if connection.socket_options:
            for option in connection.socket_options:
                sock.setsockopt(*option)
        with self._lock:
            self._handles = {handle for handle in self._handles if _is_open(handle)} | {sock.dup()}
        if self._aborted.is_set():
            self.abort()
        return sock

    def judge_proxied(self, url: Url) -> None:
        """Refuse a target that its proxy would be asked for, where this host resolves it to an address that is refused."""
        reach = self._access.reach
        if reach is None or not _proxy_of(url):
            return
        with contextlib.suppress(Unreachable):  # only the proxy knows it: the operator's proxy says where it may lead
            for info in self._resolve(url.host, url.port):
                if not reach.allows(url.host, str(info[4][0])):
                    raise Unreachable(f"{url.host} leads to an address that is not fetched from", passing=False)

    def _resolve(self, host: str, port: int) -> "list[Any]":
        """getaddrinfo(3) takes as long as its servers let it, so a thread waits for it, which an abort leaves alone."""
        found: list[Any] = []

        def ask() -> None:
            try:
                found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except OSError as error:
                found.append(error)

        thread = threading.Thread(target=ask, name="resolve", daemon=True)
        thread.start()
        while thread.is_alive() and not self._aborted.is_set():
            thread.join(_TICK_SECONDS)
        if not found:
            raise Unreachable("it was cancelled", passing=False)
        if isinstance(found[0], OSError):
            again = found[0].errno == socket.EAI_AGAIN
            raise Unreachable(f"the name {host} is not known" + (" just now" if again else ""), passing=again)
        return list(found[0])

    def _unreachable(self, error: Exception) -> Unreachable:
        if self._aborted.is_set():
            return Unreachable("it was cancelled", passing=False)
        return error if isinstance(error, Unreachable) else _in_words(error, self._access.silence)


def _pools(dial: Callable[[HTTPConnection], socket.socket]) -> dict[str, Any]:
    """urllib3's pools, with connections that `dial` makes."""

    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self)

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self)

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


def _connected(addresses: Iterable[Any]) -> socket.socket:
    """To the first of these addresses that takes it."""
    failed: OSError | None = None
    for family, kind, protocol, _name, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(CONNECT_SECONDS)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _is_open(handle: socket.socket) -> bool:
    """False, and the handle closed, when the connection that it belongs to has ended."""
    try:
        handle.getpeername()
    except OSError:
        handle.close()
        return False
    return True


def _proxy_of(url: Url) -> str:
    """The proxy that the environment names for it (http_proxy, https_proxy, no_proxy); "" for none."""
    proxy = urllib.request.getproxies().get(url.scheme, "")
    if not proxy or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        scheme = proxy.partition(":")[0]
        raise Unreachable(f"the proxy of {url.scheme}_proxy is of kind {scheme}, which is not supported", passing=False)
    return proxy


def _in_words(error: Exception, silence: float) -> Unreachable:
    """The cause in words, and whether it may pass: the first of these that it is."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Unreachable(_tls_reason(cause), passing=False)
    if isinstance(error, urllib3.exceptions.ProxyError):
        return Unreachable(f"the proxy cannot be used: {cause}", passing=False)
    if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
        return Unreachable(f"the server said nothing for {silence:g} s", passing=True)
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable("the connection was refused", passing=False, may_restart=True)
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ConnectionError):
        return Unreachable(f"no connection: {os.strerror(cause.errno)}", passing=cause.errno not in _OUR_LIMITS)
    return Unreachable("the server closed the connection", passing=True)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"


def _cause(error: BaseException) -> BaseException:
    """What is behind urllib3's wrappings: the innermost exception of a socket or of TLS, else the error itself."""
    for found in (error, *error.args):
        inner = found.__cause__ or found.__context__ if isinstance(found, BaseException) else None
        if isinstance(found, OSError) and not isinstance(found, urllib3.exceptions.HTTPError):
            return found
        if isinstance(inner, OSError):
            return inner
    return error
