"""A bucket of a real S3 server (Ceph's) as the store of backups, and all that goes wrong with one."""

import os
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rados_gateway import RadosGateway, write_credentials
from storing import SPACE, back_up, make_volume, vault, verify

from nbdsvc import errors
from nbdsvc.backup_store import manifest
from nbdsvc.backup_store.collection import Sweeper, collect
from nbdsvc.backup_store.contract import Missing, TooLarge
from nbdsvc.backup_store.identity import MARK
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backup_store.s3 import S3Store
from nbdsvc.backup_store.s3_client import S3Place, load_credentials
from nbdsvc.backup_store.space import Space
from nbdsvc.datapath.copy import copy
from nbdsvc.location import Location


def space_of(gateway: RadosGateway, folder: Path, bucket: str, master: bytes | None = None, **given: Any) -> Space:
    return vault(folder, master, store=gateway.store(folder, bucket, "p/q", **given)).space(SPACE)


def restored(space: Space, id: str, path: Path) -> bytes:
    reader = Reader(space, space.get_manifest(id))
    reader.check_present()
    path.write_bytes(b"")
    os.truncate(path, space.get_manifest(id).size)
    with reader.open() as source:
        copy(source, Location.file(path), destination_is_zero=True)
    return path.read_bytes()


def chunks(gateway: RadosGateway, bucket: str) -> list[str]:
    return sorted(key for key in gateway.keys(bucket) if "/chunks/" in key)


@pytest.mark.row("S076")
def test_objects_of_a_bucket(gateway: RadosGateway, tmp_path: Path) -> None:
    """The contract of a store, and that a listing has all of its pages."""
    store = gateway.store(tmp_path, gateway.bucket(), page=3)
    assert store.check() == store.check()
    names = {f"n{index}" for index in range(7)}
    for name in names:
        store.put(f"a/{name}", name.encode())
    store.put("a/deep/er", b"")
    assert sorted(store.names("a")) == sorted({*names, "deep"})
    assert list(store.names("nowhere")) == []
    assert (store.get("a/n1", 2), store.get("a/deep/er", 5)) == (b"n1", b"")
    assert (store.head("a/n1", 1), store.head("a/n1", 0), store.head("a/deep/er", 9)) == ((b"n", 2), (b"", 2), (b"", 0))
    with pytest.raises(TooLarge, match="2 bytes, and may have 1"):
        store.get("a/n1", 1)
    store.put("a/n1", b"new")
    assert (store.move("a/n1", "b/n1"), store.move("a/n1", "b/n1"), store.move("a/n2", "b/n1")) == (True, False, True)
    assert (list(store.names("b")), store.get("b/n1", 9)) == (["n1"], b"n2")
    assert (store.remove("b/n1"), store.remove("b/n1")) == (True, False)
    for missing in (lambda: store.get("b/n1", 9), lambda: store.head("b/n1", 9)):
        with pytest.raises(Missing):
            missing()


@pytest.mark.parametrize("master", [None, bytes(range(32))])
def test_a_backup_in_a_bucket(gateway: RadosGateway, tmp_path: Path, master: bytes | None) -> None:
    """Full and incremental ones are restored; what no backup needs is freed, and nothing else is left."""
    bucket = gateway.bucket()
    space, path = space_of(gateway, tmp_path, bucket, master), tmp_path / "v"
    back_up(space, make_volume(path, [b"a", b"b", b"", b"c"], tail=512), "full")
    first = path.read_bytes()
    written = back_up(space, make_volume(path, [b"a", b"B", b"", b"c"], tail=512), "more", "full")
    assert (written.new, written.chunks) == (1, 3)
    assert restored(space, "full", tmp_path / "out") == first
    assert restored(space, "more", tmp_path / "out") == path.read_bytes()
    assert collect(space, space.remove_manifest("full")).chunks == 1
    assert verify(space, "more") == 3
    assert collect(space, space.remove_manifest("more")).chunks == 3
    assert gateway.keys(bucket) == {f"p/q/{MARK}"}


def test_a_sweep_waits_for_a_backup_of_another_host(gateway: RadosGateway, tmp_path: Path) -> None:
    """What it set aside is moved back for a backup that counted on it, and a killed sweep's rest is taken over."""
    bucket = gateway.bucket()
    mine, other = (space_of(gateway, tmp_path / name, bucket) for name in ("a", "b"))
    back_up(mine, make_volume(tmp_path / "v", [b"a", b"b"]), "first")
    other.begin_session("second", {})
    assert collect(mine, mine.remove_manifest("first"), Sweeper("one")).waiting == ("second",)
    assert not chunks(gateway, bucket)
    back_up(other, make_volume(tmp_path / "w", [b"b", b"c"]), "second")
    assert (collect(mine).kept, collect(mine).waiting) == (1, ())
    assert len(chunks(gateway, bucket)) == 2
    id = sorted(other.chunks())[0]
    mine.store.move(mine.chunk_name(id), f"{mine.root}/trash/killed.1/{id.hex()}")
    assert collect(mine, (), Sweeper("one")).waiting == ("killed",)
    assert verify(other, "second") == 2
    assert collect(mine, (), Sweeper("one", lambda id: id == "killed")).kept == 1
    assert len(chunks(gateway, bucket)) == 2


def test_which_store_it_is(gateway: RadosGateway, tmp_path: Path) -> None:
    """Of hosts that make a store at once one is first; a prefix has its own; another one, none, or something else there is
    refused.
    """
    bucket, found = gateway.bucket(), list[str]()
    stores = [gateway.store(tmp_path / f"{index}", bucket, "p") for index in range(6)]
    threads = [threading.Thread(target=lambda store=store: found.append(store.check())) for store in stores]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert (len(found), len(set(found))) == (6, 1)
    assert gateway.store(tmp_path / "other", bucket, "q").check() not in found
    with pytest.raises(errors.BackendUnavailable, match="is not the store .* that this host uses"):
        gateway.store(tmp_path / "other", bucket, "p").check()
    gateway.client().put_object(Bucket=bucket, Key="mine/file", Body=b"x")
    with pytest.raises(errors.BackendUnavailable, match="has other objects in it"):
        gateway.store(tmp_path / "third", bucket, "mine").check()
    client = gateway.client()
    for key in gateway.keys(bucket):
        client.delete_object(Bucket=bucket, Key=key)
    for call in (stores[0].check, lambda: list(stores[0].names("spaces"))):
        with pytest.raises(errors.BackendUnavailable, match="is not the store"):
            call()
    client.delete_bucket(Bucket=bucket)
    for call in (stores[0].check, lambda: list(stores[0].names("spaces")), lambda: stores[0].put("a", b"x")):
        with pytest.raises(errors.BackendUnavailable, match=f"there is no bucket {bucket}"):
            call()


def test_credentials(gateway: RadosGateway, tmp_path: Path) -> None:
    """Wrong ones are named by their file and never shown, and read anew; a file that others may read is refused."""
    store = gateway.store(tmp_path, gateway.bucket())
    wrong = gateway.credentials(tmp_path, "wrong/secret")
    for access, code in ((gateway.access, "SignatureDoesNotMatch"), ("unknown", "InvalidAccessKeyId")):
        write_credentials(wrong, access, "wrong/secret")
        with pytest.raises(errors.BackendUnavailable, match=code) as caught:
            store.check()
        assert str(wrong) in str(caught.value)
        text = repr(caught.value) + str(caught.value.__cause__)
        assert not [secret for secret in ("wrong/secret", gateway.secret) if secret in text]
    gateway.credentials(tmp_path)
    store.check()
    for content in (
        "",
        "[default]\naws_access_key_id = sesame\n",
        "aws_secret_access_key = sesame",
        "[default]\nsesame",
    ):
        wrong.write_text(content)
        with pytest.raises(errors.ConfigError) as refused:
            load_credentials(wrong)
        assert "sesame" not in repr(refused.value)
    wrong.chmod(stat.S_IRUSR | stat.S_IRGRP)
    with pytest.raises(errors.ConfigError, match="others may read it"):
        load_credentials(wrong)


def test_a_server_that_is_away_or_slow(gateway: RadosGateway, tmp_path: Path) -> None:
    """Both are an error in bounded time, and over once it is back."""
    store = gateway.store(tmp_path, gateway.bucket(), timeout=0.3)
    store.check()
    gateway.kill()
    try:
        with pytest.raises(errors.BackendUnavailable, match="does not answer: EndpointConnectionError"):
            store.put("a", b"x")
    finally:
        gateway.start()
    store.put("a", b"x")
    gateway.pause()
    try:
        began = time.monotonic()
        with pytest.raises(errors.BackendUnavailable, match="does not answer: ReadTimeoutError"):
            store.get("a", 9)
        assert time.monotonic() - began < 120
    finally:
        gateway.go_on()
    assert store.get("a", 9) == b"x"


def test_a_full_bucket(gateway: RadosGateway, tmp_path: Path) -> None:
    """Out of space is what it is called, and the rest of the backup is freed."""
    bucket = gateway.bucket()
    space = space_of(gateway, tmp_path, bucket)
    gateway.admin("quota", "set", "--quota-scope=bucket", f"--bucket={bucket}", "--max-objects=4")
    gateway.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={bucket}")
    volume = make_volume(tmp_path / "v", [b"%d" % index for index in range(12)])
    with pytest.raises(errors.OutOfSpace, match="QuotaExceeded"):
        back_up(space, volume, "one", threads=1)
    space.end_session("one")
    collect(space)
    assert gateway.keys(bucket) == {f"p/q/{MARK}"}


@pytest.mark.parametrize("damage", ["cut", "changed", "large", "gone"])
def test_an_object_that_is_not_what_was_written(gateway: RadosGateway, tmp_path: Path, damage: str) -> None:
    """It is named with its place, and the next backup stores it anew."""
    bucket = gateway.bucket()
    space, volume = space_of(gateway, tmp_path, bucket), make_volume(tmp_path / "v", [b"", b"a"])
    back_up(space, volume, "one")
    client, key = gateway.client(), chunks(gateway, bucket)[0]
    content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    if damage == "gone":
        client.delete_object(Bucket=bucket, Key=key)
    else:
        bad = {"cut": content[:-1], "changed": content[:-1] + b"?", "large": content + bytes(8 << 20)}[damage]
        client.put_object(Bucket=bucket, Key=key, Body=bad)
    with pytest.raises(errors.BackupDamaged, match=rf"{key.rpartition('/')[2]} \(at byte {manifest.CHUNK}\)"):
        verify(space, "one")
    assert back_up(space, volume, "two").new == 1
    assert (verify(space, "one"), verify(space, "two")) == (1, 1)
    collect(space)
    assert len([key for key in gateway.keys(bucket) if "/damaged/" in key]) == 0


class Odd(BaseHTTPRequestHandler):
    """Answers with `kind`: 503 as often as `times`, then from the server behind it; or a body that breaks off."""

    kind, times, behind = "", 0, ""

    def do_GET(self) -> None:
        cls = type(self)
        cls.times -= 1
        if cls.kind == "503" and cls.times >= 0:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206)
        self.send_header("Content-Length", "5")
        self.send_header("Content-Range", "bytes 0-4/5")
        self.end_headers()
        self.wfile.write(b"he" if cls.times >= 0 else b"hello")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Callable[..., S3Store]]:
    """A store on a server that answers oddly."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def make(kind: str, times: int, scheme: str = "http", **given: Any) -> S3Store:
        Odd.kind, Odd.times = kind, times
        place = {"endpoint": f"{scheme}://127.0.0.1:{server.server_port}", "timeout": 5, **given}
        credentials = write_credentials(tmp_path / "credentials", "access", "secret")
        return S3Store(S3Place("bucket", "", credentials, **place), tmp_path / "note")

    yield make
    server.shutdown()
    server.server_close()
    thread.join()


def test_errors_of_a_server(odd: Callable[..., S3Store]) -> None:
    """A request that fails is repeated a few times; a body that breaks off, too."""
    assert odd("503", 2).get("a", 9) == b"hello"
    with pytest.raises(errors.BackendUnavailable, match="503"):
        odd("503", 10**9).get("a", 9)
    assert odd("short", 1).get("a", 9) == b"hello"
    with pytest.raises(errors.BackendUnavailable, match="ResponseStreamingError|IncompleteRead"):
        odd("short", 10**9).get("a", 9)


def test_a_certificate(tmp_path: Path) -> None:
    """Of an authority that is named is trusted, of none is not."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
                   check=True, capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Odd.kind, Odd.times = "", 0
    credentials = write_credentials(tmp_path / "credentials", "access", "secret")

    def store(ca: Path | None) -> S3Store:
        place = S3Place("bucket", "", credentials, f"https://127.0.0.1:{server.server_port}", ca_file=ca, timeout=5)
        return S3Store(place, tmp_path / "note")

    try:
        assert store(cert).get("a", 9) == b"hello"
        with pytest.raises(errors.BackendUnavailable, match=r"not trusted \(backup_s3_ca_file\)"):
            store(None).get("a", 9)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
