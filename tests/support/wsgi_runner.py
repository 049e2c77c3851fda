"""Serves a WSGI application by waitress: wsgi_runner.py MODULE PORT. Run by the environment of the OpenStack services."""

import importlib
import socket
import sys

from waitress import serve

# Requests at once: those of a test session and of the service that it starts.
THREADS = 8
# Bytes: an image of a whole volume, of which waitress takes less than this (1 GiB if nothing is said).
MOST = 4 << 30


def main(module: str, port: int) -> None:
    application = importlib.import_module(module).application
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    serve(application, sockets=[listening], threads=THREADS, max_request_body_size=MOST, recv_bytes=1 << 20)


# The application reads the arguments of the process as its own.
chosen, sys.argv[1:] = sys.argv[1:], []
main(chosen[0], int(chosen[1]))
