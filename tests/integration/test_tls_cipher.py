"""The cipher of an export with TLS, as GnuTLS of a real client reports it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd import ciphers
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names

KEY = "2b" * 32


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """What one test has decided is no other's."""
    ciphers.environment.cache_clear()
    yield
    ciphers.environment.cache_clear()


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its path is short, as a unix socket's has to be."""
    return tmp_path_factory.mktemp("t")


def suite(folder: Path) -> str:
    """The cipher suite that nbdinfo and a new export of a file agree on."""
    (folder / "volume").write_bytes(bytes(1 << 20))
    exporter, id = NbdExporter(folder / "e", "test", "127.0.0.1", (12900, 12999)), names.new_id()
    access = Access(network=True, needs_secret=True)
    info = exporter.ensure(ExportSpec(id, "v", Location.file(folder / "volume"), access, secret=KEY)).data
    try:
        (folder / "psk").write_text(f"{id}:{KEY}\n")
        argv = ["nbdinfo", f"{info['uri']}?tls-psk-file={folder}/psk"]
        words = {**os.environ, "GNUTLS_DEBUG_LEVEL": "4"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env=words)
    finally:
        exporter.remove(id)
    (line,) = [line for line in done.stderr.splitlines() if "Selected cipher suite: " in line]
    return line.rpartition(" ")[2]


def test_it_is_aes_where_the_processor_computes_that(folder: Path) -> None:
    """Also for a client that prefers ChaCha20, as GnuTLS does with a pre-shared key."""
    if Path("/etc/gnutls/config").exists():
        pytest.fail("this machine has a policy for GnuTLS, which exports leave alone: run this where there is none")
    has_aes = " aes" in Path("/proc/cpuinfo").read_text()
    assert suite(folder) == ("GNUTLS_AES_128_GCM_SHA256" if has_aes else "GNUTLS_CHACHA20_POLY1305_SHA256")


def test_an_operators_policy_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the service's own environment names, here one that leaves neither of the usual two."""
    (folder / "policy").write_text(
        "[overrides]\ntls-disabled-cipher = AES-128-GCM\ntls-disabled-cipher = CHACHA20-POLY1305\n"
    )
    monkeypatch.setenv(ciphers.VARIABLE, str(folder / "policy"))
    assert suite(folder) == "GNUTLS_AES_128_CCM_SHA256"
