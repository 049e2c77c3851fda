"""Sources and sinks over locations of every scheme: a file, a loop device, nbdkit with and without a pre-shared key."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from images import MiB, write_extents
from nbdkits import nbdkit

from nbdsvc import errors
from nbdsvc.datapath import sink as sinks
from nbdsvc.datapath import source as sources
from nbdsvc.datapath.copy import copy, digest
from nbdsvc.datapath.digests import Digests
from nbdsvc.location import Location

SIZE = 16 * MiB
EXTENTS = [(0, 100, 1), (5 * MiB + 123, 3 * MiB, 2), (15 * MiB, MiB, 3)]
SCHEMES = ["file", "block", "nbd", "nbds"]
# Characters with a meaning in a URI.
KEY_FILE = "keys +&#?=%20;ä"

Locate = Callable[[str, str], Location]


@contextmanager
def _loop_device(path: Path) -> Iterator[Path]:
    argv = ["losetup", "--find", "--show", str(path)]
    device = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def locate(tmp_path: Path) -> Iterator[Locate]:
    """locate(scheme, name): the location by which this file of the test's folder is reached."""
    (tmp_path / KEY_FILE).write_text(f"me:{os.urandom(32).hex()}\n")
    # nbdkit parses a name with a comma or an equals sign differently.
    (tmp_path / "keys").hardlink_to(tmp_path / KEY_FILE)
    with ExitStack() as stack:

        def made(scheme: str, name: str) -> Location:
            path = tmp_path / name
            if scheme == "file":
                return Location.file(path)
            if scheme == "block":
                return Location.block(stack.enter_context(_loop_device(path)))
            tls = ["--tls=require", f"--tls-psk={tmp_path / 'keys'}"] if scheme == "nbds" else []
            uri = stack.enter_context(nbdkit(tmp_path, *tls, "file", path))[0]
            if scheme == "nbd":
                return Location("nbd", uri)
            address = uri.replace("nbd+unix://", "nbds+unix://me@")
            return Location("nbd", address, {"tls_psk_file": str(tmp_path / KEY_FILE)})

        yield made


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bytes_from_and_to_each(tmp_path: Path, locate: Locate, scheme: str) -> None:
    """What a copy reads of one and writes to another of the same scheme are the same bytes, over old ones."""
    model = write_extents(tmp_path / "raw", SIZE, EXTENTS)
    (tmp_path / "target").write_bytes(b"\xee" * SIZE)
    target, made = locate(scheme, "target"), Digests(SIZE)
    with sources.open(locate(scheme, "raw"), from_storage=True) as source:
        assert source.size == SIZE
        copy(source, target, size=SIZE, digests=made, journal=tmp_path / "journal", fingerprint=b"l")
    with sources.open(target, from_storage=True) as written:
        made.compare(digest(written, SIZE), "target")
    assert (tmp_path / "target").read_bytes() == model


@pytest.mark.parametrize("scheme", SCHEMES)
def test_zeros_are_not_written_to_what_is_empty(tmp_path: Path, locate: Locate, scheme: str) -> None:
    """A sink that reads as zeros keeps its holes."""
    model = write_extents(tmp_path / "raw", SIZE, EXTENTS)
    (tmp_path / "target").touch()
    os.truncate(tmp_path / "target", SIZE)
    with (
        sources.open(Location.file(tmp_path / "raw")) as source,
        sinks.open(locate(scheme, "target"), is_zero=True) as sink,
    ):
        copy(source, sink, size=SIZE)
    os.sync()
    assert (tmp_path / "target").read_bytes() == model
    assert (tmp_path / "target").stat().st_blocks * 512 < SIZE / 2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_not_there(tmp_path: Path, scheme: str) -> None:
    """No file, device or server: ReadFailed of the source, WriteFailed of the sink, and nothing is made in its place."""
    (tmp_path / "keys").touch()
    absent = {
        "file": Location.file(tmp_path / "absent"),
        "block": Location.block(tmp_path / "absent"),
        "nbd": Location("nbd", f"nbd+unix:///?socket={tmp_path}/absent"),
        "nbds": Location("nbd", f"nbds+unix:///?socket={tmp_path}/absent", {"tls_psk_file": str(tmp_path / "keys")}),
    }[scheme]
    with pytest.raises(errors.ReadFailed, match="No such file") as caught:
        sources.open(absent)
    assert "keys" not in str(caught.value)
    with pytest.raises(errors.WriteFailed, match="No such file"):
        sinks.open(absent)
    assert not (tmp_path / "absent").exists()


def test_another_key_opens_nothing(tmp_path: Path, locate: Locate) -> None:
    """With another key, or with none, the server refuses; the error tells no key and no file of one."""
    (tmp_path / "raw").write_bytes(bytes(MiB))
    (tmp_path / "wrong-keys").write_text(f"me:{'0' * 64}\n")
    right = locate("nbds", "raw")
    for wrong in (
        Location("nbd", right.address, {"tls_psk_file": str(tmp_path / "wrong-keys")}),
        Location("nbd", right.address.replace("nbds", "nbd")),
    ):
        with pytest.raises(errors.ReadFailed) as caught:
            sources.open(wrong)
        assert "0" * 64 not in str(caught.value)
        assert "wrong-keys" not in str(caught.value)
