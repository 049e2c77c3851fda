"""Keystone behind TLS: its certificate is verified by the authority that is set."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keystone_server import PASSWORD, Keystone, rest
from serving import ServiceProcess


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _forward(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        try:
            client = context.wrap_socket(plain, server_side=True)
        except OSError:
            continue
        server = socket.create_connection(("127.0.0.1", port))
        for pair in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=pair, daemon=True).start()


@contextmanager
def _tls(folder: Path, port: int) -> Iterator[str]:
    """An address at which TLS, with the certificate of the folder, leads to the port."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(["openssl", *words.split(), *files], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_forward, args=(listening, context, port), daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_the_certificate_is_verified(
    keystone: Keystone, make_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    """Trusted by the authority's file: 200. By the system's authorities it is not: 503, which says so."""
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    token = keystone.token("reader")
    with _tls(tmp_path, keystone.server.port) as url:
        given = {"auth": "keystone", "keystone_url": f"{url}/v3/", "keystone_password_file": password}
        trusting = make_service("a", keystone_ca_file=tmp_path / "cert.pem", **given)
        assert rest("GET", f"{trusting.url}/volumes", token).status == 200
        wary = make_service("b", **given)
        refused = rest("GET", f"{wary.url}/volumes", token)
        assert refused.status == 503
        assert "its certificate is not trusted" in str(refused.content)
