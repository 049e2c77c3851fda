"""The command line and where the API is: variables that are wrong, servers that are none of ours, TLS, IPv6."""

import contextlib
import http.server
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.cli import cli


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NBDSVC_ENDPOINT", "127.0.0.1:8776/v3"),
        ("NBDSVC_ENDPOINT", "localhost:8776"),
        ("NBDSVC_ENDPOINT", "/v3"),
        ("NBDSVC_ENDPOINT", "http://"),
        ("NBDSVC_ENDPOINT", "http:///v3"),
        ("NBDSVC_ENDPOINT", "http://h:abc/v3"),
        ("NBDSVC_ENDPOINT", "http://h:99999/v3"),
        ("NBDSVC_ENDPOINT", "http://h:0/v3"),
        ("NBDSVC_ENDPOINT", "http://h:٣/v3"),
        ("NBDSVC_ENDPOINT", "http://[::1/v3"),
        ("NBDSVC_ENDPOINT", "http://ä/v3"),
        ("NBDSVC_ENDPOINT", "http://h/v3 \r\nX: y"),
        ("NBDSVC_ENDPOINT", "http://me:secret@h/v3"),
        ("NBDSVC_ENDPOINT", "http://h/v3?secret=1"),
        ("NBDSVC_ENDPOINT", "ftp://h/v3"),
        ("NBDSVC_TOKEN", "secret\nX: y"),
        ("NBDSVC_TOKEN", "ü"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """One line on stderr that names the variable and shows no secret, and exit status 2."""
    environment = {**os.environ, name: value}
    argv = [sys.executable, "-m", "nbdsvc", "volume", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(rf"nbdsvc: Setting {name}: .+\n", done.stderr)
    assert "secret" not in done.stderr


@contextlib.contextmanager
def server(status: int, kind: str, body: bytes, tls: Path | None = None, **headers: str) -> Iterator[str]:
    """One that answers everything alike: its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def said(endpoint: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setenv("NBDSVC_ENDPOINT", endpoint)
    with pytest.raises(errors.BackendUnavailable) as raised:
        cli.main([*(words or ("volume", "list"))], standalone_mode=False)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("status", "kind", "body", "expected"),
    [
        (200, "text/html; charset=utf-8", b"<html>Welcome</html>", "answers text/html"),
        (200, "application/json", b"[1]", "not the JSON of the API"),
        (200, "application/json", b"[" * 100_000, "not the JSON of the API"),
        (200, "application/json", b'{"versions": []}', "no 'volumes'"),
        (404, "text/html", b"<html>nginx</html>", "answers 404 with text/html"),
        (404, "application/json", b'{"detail": "Not Found"}', "answers 404"),
        (502, "text/html", b"Bad gateway", "answers 502"),
        (301, "text/html", b"", "redirects to https://elsewhere/v3:"),
    ],
)
def test_an_answer_that_is_not_the_apis(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: str, body: bytes, expected: str
) -> None:
    """A web page, another JSON, a gateway's error, a redirect: one line that says so and names the variable."""
    with server(status, kind, body, Location="https://elsewhere/v3?token=secret") as where:
        text = said(f"http://{where}/v3", monkeypatch)
    assert expected in text
    assert "NBDSVC_ENDPOINT" in text
    assert "secret" not in text


def test_why_there_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused, unknown, TLS where there is none, none where there is, an unknown certificate: each by its cause."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "Connection refused" in said(f"http://127.0.0.1:{port}", monkeypatch)
    assert re.search("[Nn]ame|resolution", said("http://unknown.invalid", monkeypatch))
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    files = ["-subj", "/CN=x", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run([*request, *files], check=True, capture_output=True)
    (tmp_path / "both").write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "cert").read_bytes())
    with server(200, "text/html", b"") as where:
        assert "SSL" in said(f"https://{where}", monkeypatch)
    with server(200, "text/html", b"", tls=tmp_path / "both") as where:
        assert "self-signed certificate" in said(f"https://{where}", monkeypatch)
        assert "https://?" in said(f"http://{where}", monkeypatch)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert "http_proxy is set, and not used" in said(f"http://[::1]:{port}", monkeypatch)
    assert f"[::1]:{port}" in said(f"http://[::1]:{port}", monkeypatch)
