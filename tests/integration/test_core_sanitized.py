"""The C core's own tests, built with AddressSanitizer and UndefinedBehaviorSanitizer."""

import subprocess
from pathlib import Path

from images import MiB, qemu_img, write_extents

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-g", "-O1", "-std=gnu11", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{ROOT / 'native'}"]


def build(folder: Path, name: str) -> Path:
    program = folder / name
    elsewhere = ("thread_state.c", "served.c", "client.c", "reconnect.c", "connection.c")  # in Python, and in nbdkit
    parts = [str(path) for path in (ROOT / "native").glob("*/*.c") if path.name not in elsewhere]
    test = str(ROOT / "tests/native" / f"{name}.c")
    subprocess.run(["gcc", *FLAGS, "-o", str(program), test, *parts, "-ldeflate", "-lzstd", "-lpthread"], check=True)
    return program


def test_damaged_images(tmp_path: Path) -> None:
    """The readers, the copy engine and the qcow2 writer run damaged images without a report."""
    program = build(tmp_path, "damage")
    raw, image = tmp_path / "raw", tmp_path / "image"
    write_extents(raw, 4 * MiB, [(0, 300_000, 1), (2 * MiB, 100_000, 2)])
    for options in (
        ["-c", "-o", "cluster_size=4096"],
        ["-o", "cluster_size=4096"],
        ["-c", "-o", "compression_type=zstd"],
        ["-o", "extended_l2=on,cluster_size=16k"],
    ):
        qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, image)
        qemu_img("snapshot", "-c", "snap", image)
        done = subprocess.run([str(program), str(image), "300"], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        print(done.stdout.strip())


def test_refcounts_of_large_images(tmp_path: Path) -> None:
    """What the qcow2 writer's allocator counts is what it gave out, over several refcount blocks and any mix."""
    done = subprocess.run([str(build(tmp_path, "alloc")), "11"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "refcounts as counted" in done.stdout
