"""`nbdsvc copy` as its user sees it: files, devices, NBD, http; verified, limited, resumed, refused."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from images import KiB, MiB, qemu_img, write_extents
from nbdkits import nbdkit
from waiting import wait_until

SIZE = 24 * MiB
EXTENTS = [(0, 100, 1), (5 * MiB + 123, 3 * MiB, 2), (20 * MiB, 64 * KiB, 3)]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "nbdsvc", "copy", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def done(*words: str | Path) -> dict[str, Any]:
    """The summary of a copy that succeeded."""
    ended = run(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_extents(tmp_path / "raw", SIZE, EXTENTS)
    return tmp_path / "raw"


def test_there_and_back_again(tmp_path: Path, raw: Path) -> None:
    """raw to each kind of qcow2 and back, verified: the same bytes, holes kept, nothing left beside them."""
    folder = tmp_path / "made"
    folder.mkdir()
    for compression in ("none", "zlib", "zstd"):
        image = folder / f"{compression}.qcow2"
        made = done(raw, image, "--compress", compression, "--verify")
        assert (made["format"], made["verified"], made["size"]) == ("qcow2", True, SIZE)
        assert made["data"] + made["zero"] == SIZE
        assert "No errors" in qemu_img("check", "-f", "qcow2", image)
        back = done(image, folder / "back", "--verify", "--force")
        assert (folder / "back").read_bytes() == raw.read_bytes()
        assert back["allocated"] < SIZE / 2
    assert {path.name for path in folder.iterdir()} == {"none.qcow2", "zlib.qcow2", "zstd.qcow2", "back"}
    said = run(raw, folder / "said").stdout
    assert "24.0 MiB in" in said
    assert "data" in said


def test_refusals_leave_things_alone(tmp_path: Path, raw: Path) -> None:
    """An existing file without --force, no such source, a backing file, nonsense: words, a status, nothing written."""
    kept = tmp_path / "kept"
    kept.write_bytes(b"dear")
    qemu_img("create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", tmp_path / "overlay.qcow2")
    for words, status, saying in (
        ((raw, kept), 4, "exists"),
        ((tmp_path / "unknown", tmp_path / "new"), 1, "No such file"),
        ((tmp_path / "overlay.qcow2", tmp_path / "new"), 1, "backing file"),
        ((raw, tmp_path / "new", "--source-format", "qcow2"), 1, "declared as qcow2"),
        ((raw, tmp_path / "new", "--compress", "zlib"), 4, "only qcow2"),
        ((raw, tmp_path / "new", "--limit", "fast"), 2, "not a rate"),
        ((raw, "nbd+unix:///?socket=/nowhere"), 1, "No such file"),
        ((raw, tmp_path / "no" / "folder"), 1, "No such file"),
        ((raw, tmp_path / ("x" * 300)), 1, "File name too long"),
        ((raw, f"nbd+unix:///{'x' * 300}?socket=/nowhere"), 1, "No such file"),
    ):
        ended = run(*words)
        assert ended.returncode == status, (words, ended.stderr)
        assert saying in ended.stderr
        assert "Traceback" not in ended.stderr
    assert kept.read_bytes() == b"dear"
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "kept", "overlay.qcow2"}


def test_onto_a_block_device_and_nbd(tmp_path: Path, raw: Path) -> None:
    """A loop device and an export that held other bytes read like the source afterwards; too small ones are refused."""
    (tmp_path / "disk").write_bytes(b"\xee" * SIZE)
    (tmp_path / "small").write_bytes(bytes(MiB))
    loop = subprocess.run(
        ["losetup", "--find", "--show", tmp_path / "disk"], capture_output=True, text=True, check=True
    )
    device = loop.stdout.strip()
    try:
        assert done(raw, device, "--verify")["allocated"] is None
        assert Path(device).read_bytes() == raw.read_bytes()
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    for name in ("disk", "small"):
        with nbdkit(tmp_path, "file", tmp_path / name) as (uri, _):
            ended = run(raw, uri, "--verify")
            assert ended.returncode == (0 if name == "disk" else 1), ended.stderr
    assert "25165824 are needed" in ended.stderr
    assert (tmp_path / "disk").read_bytes() == raw.read_bytes()


def test_a_destination_that_loses_bytes_is_found_out(tmp_path: Path, raw: Path) -> None:
    """A server that throws away what it is sent: --verify says where, with both digests, and fails."""
    with nbdkit(tmp_path, "null", str(SIZE)) as (uri, _):
        assert run(raw, uri).returncode == 0
        ended = run(raw, uri, "--verify")
    assert ended.returncode == 1
    assert re.search(r"at byte 0 has checksum [0-9a-f]{32}, expected [0-9a-f]{32}", ended.stderr), ended.stderr


def test_a_limit_holds(tmp_path: Path) -> None:
    """Of 40 MiB at 16 MiB a second only a burst, and the pieces that threads have begun, come sooner."""
    (tmp_path / "raw").write_bytes(os.urandom(40 * MiB))
    made = done(tmp_path / "raw", tmp_path / "out", "--limit", "16M")
    assert made["seconds"] > (40 - 16 - 1.6) / 16


def test_a_copy_on_a_file_system_that_shares_moves_nothing(tmp_path: Path) -> None:
    """On XFS a raw file is copied by sharing its blocks, and both are whole."""
    disk, mounted = tmp_path / "xfs", tmp_path / "mounted"
    with disk.open("wb") as file:
        file.truncate(320 * MiB)
    subprocess.run(["mkfs.xfs", "-q", str(disk)], check=True)
    mounted.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(mounted)], check=True)
    try:
        (mounted / "raw").write_bytes(os.urandom(64 * MiB))
        made = done(mounted / "raw", mounted / "copy")
        assert (made["shared"], made["data"]) == (64 * MiB, 0)
        assert (mounted / "copy").read_bytes() == (mounted / "raw").read_bytes()
        assert done(mounted / "raw", mounted / "second", "--verify")["data"] == 64 * MiB
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_killed_and_resumed(tmp_path: Path) -> None:
    """With a journal, a killed copy is continued, verified as a whole, and nothing is left beside the new file."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.write_bytes(os.urandom(8 * MiB) * 12)
    words = [str(raw), str(out), "--journal", str(tmp_path / "journal"), "--verify", "--json"]
    child = subprocess.Popen([sys.executable, "-m", "nbdsvc", "copy", *words, "--limit", "30M"])
    # Its checkpoint says that chunks are written: it is longer then than the head that it begins with, or it changed.
    first = wait_until(lambda: (tmp_path / "journal").exists() and (tmp_path / "journal").read_bytes())
    wait_until(lambda: (tmp_path / "journal").read_bytes() != first)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists()
    made = done(*words)
    assert made["found"] > 0
    assert out.read_bytes() == raw.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}


def test_two_copies_to_one_name(tmp_path: Path) -> None:
    """The second fails because another copy is writing the file."""
    (tmp_path / "raw").write_bytes(os.urandom(32 * MiB) * 16)  # a minute of copying: both programs may start slowly
    words = [str(tmp_path / "raw"), str(tmp_path / "out"), "--limit", "8M"]
    # A shell that starts the tests in the background has them ignore SIGINT, and whatever they start with them.
    first = subprocess.Popen(["env", "--default-signal=INT", sys.executable, "-m", "nbdsvc", "copy", *words])
    try:
        wait_until(lambda: any(path.stat().st_blocks for path in tmp_path.glob(".out*")))
        second = run(*words)
        assert second.returncode == 4
        assert "another copy" in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        first.wait()
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


def test_the_checksum_of_the_source(tmp_path: Path, raw: Path) -> None:
    """With the right one the copy is made; with another no file is left; of an export, and malformed, it is refused."""
    right = hashlib.sha256(raw.read_bytes()).hexdigest()
    done(raw, tmp_path / "out", "--checksum", f"sha256:{right}")
    wrong = run(raw, tmp_path / "bad", "--checksum", f"sha512:{'0' * 128}")
    assert (wrong.returncode, "has checksum" in wrong.stderr) == (1, True), wrong.stderr
    assert run(raw, tmp_path / "bad", "--checksum", "sha256:12").returncode == 2
    with nbdkit(tmp_path, "file", raw) as (uri, _):
        refused = run(uri, tmp_path / "bad", "--checksum", f"sha256:{right}")
    assert (refused.returncode, "has no file" in refused.stderr) == (4, True), refused.stderr
    assert not list(tmp_path.glob("*bad*"))


def test_a_copy_of_files_loads_only_what_it_needs(tmp_path: Path, raw: Path) -> None:
    """No HTTP, TLS, OpenSSL, thread pools, bars, and nothing of the service: a small copy is not kept waiting."""
    program = "import sys; from nbdsvc.cli import cli; cli(standalone_mode=False); print(*sorted(sys.modules))"
    words = ["copy", str(raw), str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert "nbdsvc.copytool.endpoints" in loaded
    assert not loaded & {
        "http",
        "ssl",
        "hashlib",
        "concurrent",
        "subprocess",
        "rich",
        "pydantic",
        "fastapi",
        "sqlalchemy",
    }
