"""PostgreSQL over TLS: by a client's certificate, by a password in a file, and by nothing else."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Postgres
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.store import migrate
from nbdsvc.store.database import Database
from nbdsvc.store.listening import Listener

_RULES = "local all postgres trust\nhostssl certain all 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _make_key(folder: Path, name: str, subject: str, *more: str) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    _openssl(folder, "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", subject, *more)
    (folder / f"{name}.key").chmod(0o600)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of an authority, of the server at 127.0.0.1, and of the user nbdsvc."""
    folder = tmp_path_factory.mktemp("keys")
    _make_key(folder, "ca", "/CN=test authority")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    _make_key(folder, "server", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", *signed)
    _make_key(folder, "client", "/CN=nbdsvc", *signed)
    return folder


@pytest.fixture(scope="module")
def address(keys: Path) -> Iterator[str]:
    """Host and port of a server that takes connections over TLS only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Postgres()
    server.execute("CREATE ROLE nbdsvc LOGIN PASSWORD 'secret'")
    for name in ("certain", "known"):
        server.execute(f"CREATE DATABASE {name} OWNER nbdsvc")
    for name in ("ca.pem", "server.pem", "server.key"):
        shutil.copy(keys / name, server.data / name)
        shutil.chown(server.data / name, "postgres", "postgres")
    (server.data / "server.key").chmod(0o600)
    (server.data / "pg_hba.conf").write_text(_RULES)
    server.stop_fast()
    server._settings = ("listen_addresses=127.0.0.1", f"port={port}", "ssl=on", "ssl_ca_file=ca.pem", "ssl_cert_file=server.pem", "ssl_key_file=server.key")  # fmt: skip
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop()


def _serves(url: str) -> bool:
    """Whether rows are read and written by it, and a commit rings the listener's bell."""
    database, rung = Database(url), threading.Event()
    listener = Listener(database, {"work": lambda _host: rung.set()})
    try:
        migrate.upgrade(database)
        listener.start()

        def ring() -> bool:
            with database.write() as conn:
                database.notify(conn, "work")
            return rung.wait(0.2)

        return bool(wait_until(ring, 20))
    finally:
        listener.stop()
        database.close()


def test_by_a_certificate(address: str, keys: Path) -> None:
    """The server proves its name and the client its own; without its certificate it is refused."""
    trusted = f"sslmode=verify-full&sslrootcert={keys}/ca.pem"
    url = f"postgresql://nbdsvc@{address}/certain?{trusted}"
    assert _serves(f"{url}&sslcert={keys}/client.pem&sslkey={keys}/client.key")
    with pytest.raises(errors.DatabaseUnavailable), Database(url).read():
        pass


def test_by_a_password_file(address: str, keys: Path, tmp_path: Path) -> None:
    """The password is read from a file of its owner; a server that another authority vouches for is refused."""
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:nbdsvc:secret\n")
    passwords.chmod(0o600)
    url = f"postgresql://nbdsvc@{address}/known?sslmode=verify-full&passfile={passwords}"
    assert _serves(f"{url}&sslrootcert={keys}/ca.pem")
    with pytest.raises(errors.DatabaseUnavailable), Database(f"{url}&sslrootcert={keys}/client.pem").read():
        pass
