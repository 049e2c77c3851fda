"""Connections to web servers for one image: urllib3's pools, with addresses that are judged and reads that can be ended.

urllib3 does the pooling, the TLS and the proxies. Redirects and retries are ours (file.py), because both must hold to the
file that was opened.
"""

import contextlib
import errno
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from nbdsvc.datapath.source import CALLBACK_THREADS
from nbdsvc.images.http import proxy
from nbdsvc.images.http.access import Access
from nbdsvc.images.http.unreachable import Unreachable, as_unreachable
from nbdsvc.images.http.url import Url

# A server that lives takes a connection within this, also from the other side of the world.
CONNECT_SECONDS = 10.0
# A head has so many times what a server may say nothing for: it may begin late, and be slow.
_HEADS = 2
# How often a wait that a socket does not end looks whether it should go on.
_TICK_SECONDS = 0.05


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
        """The event that `abort` sets."""
        return self._aborted

    def get(
        self, url: Url, headers: Mapping[str, str], method: str = "GET", body: Any = None
    ) -> urllib3.BaseHTTPResponse:
        """The answer's head; its body is still to be read. Unreachable without one. body: bytes, or what has `read`."""
        given = {"Accept-Encoding": "identity", "User-Agent": "nbdsvc", **headers}
        if url.authorization:
            given["Authorization"] = url.authorization
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=self._access.silence)
        try:
            return self._manager(url).request(
                method,
                url.text,
                body=body,
                headers=given,
                timeout=timeout,
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except Exception as error:
            raise self._unreachable(error) from error

    def read(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """Some bytes of a body; empty at its end. Unreachable where the server breaks off or sends nothing."""
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
        """End every request and close all connections."""
        self.abort()
        with self._lock:
            handles, self._handles = self._handles, set()
        for handle in handles:
            handle.close()
        for manager in self._managers.values():
            manager.clear()

    def _manager(self, url: Url) -> urllib3.PoolManager:
        key = proxy.of(url), url.scheme
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._make_manager(*key)
            return self._managers[key]

    def _make_manager(self, proxied: str, scheme: str) -> urllib3.PoolManager:
        # Loading the system's certificates takes longer than a small file.
        is_tls = scheme == "https" or proxied.startswith("https")
        context = _trust(self._access.ca_file) if is_tls else None
        kept: dict[str, Any] = {"num_pools": 4, "maxsize": 2 * CALLBACK_THREADS, "ssl_context": context}
        made = proxy.through(proxied, kept) if proxied else urllib3.PoolManager(**kept)
        made.pool_classes_by_scheme = _pools(self._dial, _HEADS * self._access.silence)
        return made

    def _dial(self, connection: HTTPConnection) -> socket.socket:
        """A connection to an address that was judged. Through a proxy the name is judged as this host resolves it."""
        target = connection.host
        reach = None if connection.proxy else self._access.reach
        addresses = self._resolve(target, connection.port or 0)
        allowed = [info for info in addresses if reach is None or reach.allows(target, str(info[4][0]))]
        if not allowed:
            raise Unreachable(f"{target} leads to an address that is not fetched from", is_transient=False)
        sock = _connected(allowed, self._aborted)
        if connection.socket_options:
            for option in connection.socket_options:
                sock.setsockopt(*option)
        with self._lock:
            self._handles = {handle for handle in self._handles if _is_open(handle)} | {sock.dup()}
        if self._aborted.is_set():
            self.abort()
        return sock

    def judge_proxied(self, url: Url) -> None:
        """Unreachable for a target behind a proxy, where this host resolves it to an address that is refused."""
        reach = self._access.reach
        if reach is None or not proxy.of(url):
            return
        try:
            addresses = self._resolve(url.host, url.port)
        except Unreachable:
            return  # only the proxy knows it: the operator's proxy says where it may lead
        if not all(reach.allows(url.host, str(info[4][0])) for info in addresses):
            raise Unreachable(f"{url.host} leads to an address that is not fetched from", is_transient=False)

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
            raise Unreachable("it was cancelled", is_transient=False)
        if isinstance(found[0], OSError):
            again = found[0].errno == socket.EAI_AGAIN
            raise Unreachable(f"the name {host} is not known" + (" just now" if again else ""), is_transient=again)
        return list(found[0])

    def _unreachable(self, error: Exception) -> Unreachable:
        if self._aborted.is_set():
            return Unreachable("it was cancelled", is_transient=False)
        return error if isinstance(error, Unreachable) else as_unreachable(error, self._access.silence)


def _pools(dial: Callable[[HTTPConnection], socket.socket], head_seconds: float) -> dict[str, Any]:
    """urllib3's pools, with connections that `dial` makes, whose answers begin in time."""

    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self)

        def getresponse(self) -> Any:
            return _in_time(self, super().getresponse, head_seconds)

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return dial(self)

        def getresponse(self) -> Any:
            return _in_time(self, super().getresponse, head_seconds)

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


def _in_time(connection: HTTPConnection, getresponse: Callable[[], Any], seconds: float) -> Any:
    """A head that comes byte by byte would keep each byte's time limit, and never end."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError, AttributeError):  # the connection may have ended already
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        return getresponse()
    except Exception as error:
        if late.is_set():
            raise Unreachable(f"the head of its answer took more than {seconds:g} s", is_transient=False) from error
        raise
    finally:
        timer.cancel()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an error of the file itself, or of its content
        reason = os.strerror(error.errno) if error.errno and not isinstance(error, ssl.SSLError) else "no certificates"
        raise Unreachable(
            f"the certificates to trust cannot be read from {ca_file}: {reason}", is_transient=False
        ) from error


def _connected(addresses: Iterable[Any], aborted: threading.Event) -> socket.socket:
    """A socket connected to the first of these addresses that accepts."""
    failed: OSError | None = None
    for family, kind, protocol, _name, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            _connect(sock, address, aborted)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _connect(sock: socket.socket, address: Any, aborted: threading.Event) -> None:
    """OSError when the peer does not accept in time, or when the client is aborted meanwhile."""
    sock.setblocking(False)
    failed, end = sock.connect_ex(address), time.monotonic() + CONNECT_SECONDS
    while failed == errno.EINPROGRESS:
        if aborted.is_set() or time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if select.select([], [sock], [], _TICK_SECONDS)[1]:
            failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, os.strerror(failed))
    sock.settimeout(CONNECT_SECONDS)


def _is_open(handle: socket.socket) -> bool:
    """False, and the handle closed, when the connection that it belongs to has ended."""
    try:
        handle.getpeername()
    except OSError:
        handle.close()
        return False
    return True
