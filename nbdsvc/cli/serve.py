"""`nbdsvc serve`, `api` and `host`: run until SIGTERM or SIGINT."""

import gc
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from nbdsvc import config, errors
from nbdsvc.cli import service_log
from nbdsvc.cli.parameter_types import PORT
from nbdsvc.cli.slim_logging import structlog

# No file that the service or one of its programs makes is readable by other users.
PRIVATE_UMASK = 0o077
# Descriptors: an export needs one while it is looked at, a copy a dozen, a client of the API one. A shell's 1024 are few;
# above this limit old programs become slow that close every number up to it.
DESCRIPTORS = 65536

_SETTINGS = [
    click.option("--config", "file", type=click.Path(path_type=Path), help="Settings instead of /etc/nbdsvc."),
    click.option("--state-dir", type=click.Path(path_type=Path), help="Where everything is kept."),
]
# The socket of the API; a storage host has none.
_OPTIONS = [
    *_SETTINGS,
    click.option("--listen", help="Address of the API."),
    click.option("--port", type=PORT, help="Port of the API; 0 takes a free one and prints it."),
]


def _options(function: Any, options: Sequence[Any] = tuple(_OPTIONS)) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


def settings_options(function: Any) -> Any:
    """The options of a verb that runs a host."""
    return _options(function, _SETTINGS)


@click.command()
@_options
def serve(file: Path | None, **overrides: Any) -> None:
    """Run the API and this host's work in one process."""
    run(lambda: config.load(file, **overrides), with_api=True, with_host=True)


@click.command()
@_options
def api(file: Path | None, **overrides: Any) -> None:
    """Run the API only: it needs the database and no privilege."""
    run(lambda: config.load(file, **overrides), with_api=True, with_host=False)


def run_host(file: Path | None, overrides: dict[str, Any]) -> None:
    """Run this host's work only, next to the storage."""
    run(lambda: config.load(file, **overrides), with_api=False, with_host=True)


def run(
    load: Callable[[], config.Settings],
    *,
    with_api: bool,
    with_host: bool,
    probe: Any = None,
    wrap: Callable[[Any], Any] = lambda app: app,
) -> None:
    """Start the service and run it until a signal.

    For tests: `probe` ends the process at a chosen step, `wrap` puts an ASGI application of their own around the API.
    """
    # Objects that are made at the start live on: to let the garbage collector scan them takes a quarter of the start's time.
    gc.disable()
    from nbdsvc.service import Service

    settings = load()
    service_log.set_up(settings)
    os.umask(PRIVATE_UMASK)
    raise_descriptor_limit()
    listener = _bind(settings) if with_api else None
    service = Service(settings, with_host=with_host, **({"probe": probe} if probe else {}))
    # Done before the service's threads start, which would compete for the processor.
    app = _make_api(service, settings) if listener else None
    service.start()
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGHUP, lambda *_: _reload(service, load))
    try:
        if listener:
            _serve_http(wrap(app), listener)
        else:
            _wait_for_signal(settings.host)
    finally:
        service.stop()


def raise_descriptor_limit() -> int:
    """Raise the limit of descriptors to DESCRIPTORS or the hard limit; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(soft, allowed)


def _reload(service: Any, load: Callable[[], config.Settings]) -> None:
    """Apply the settings that may change while the service runs. Wrong settings change nothing."""
    try:
        service.limit_copies(load())
    except errors.ConfigError as error:
        structlog.get_logger(__name__).error("settings are not read anew", reason=str(error))


def _make_api(service: Any, settings: config.Settings) -> Any:
    from nbdsvc.api import server
    from nbdsvc.cli import access

    return server.create(service.app, access.authenticator(settings), access.policy(settings))


def _serve_http(app: Any, listener: socket.socket) -> None:
    import uvicorn

    from nbdsvc.cli.bounded_http import BoundedProtocol
    from nbdsvc.cli.http_server import Server

    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if listener.family == socket.AF_INET6 else address
    listener.listen(1024)  # from now on the kernel queues clients instead of refusing them
    click.echo(f"nbdsvc ready on http://{shown}:{port}/v3", err=True)
    listening = Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, listening.end)
    listening.run(sockets=[listener])


def _bind(settings: config.Settings) -> socket.socket:
    """The API's socket, before anything else is touched: a port in use is a wrong setting, reported at once."""
    if not settings.listen:  # to the kernel, an empty address means every address
        raise errors.ConfigError(setting="listen", reason="it is empty: every address is 0.0.0.0 or ::")
    family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
    # Named, for asyncio switches Nagle's algorithm off only where the protocol says TCP: without it every reply on a kept
    # connection waits 40 ms for the client's acknowledgement of its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.listen, settings.port))
    except OSError as error:
        where = f"[{settings.listen}]" if ":" in settings.listen else settings.listen
        reason = f"{where}:{settings.port} cannot be listened on: {error.strerror}"
        raise errors.ConfigError(setting="port", reason=reason) from error
    return listener


def _wait_for_signal(host: str) -> None:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    click.echo(f"nbdsvc ready on host {host}", err=True)
    ended.wait()
