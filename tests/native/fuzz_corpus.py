"""What fuzzing begins with: small images of every shape that QEMU writes, and a compressed one."""

import os
import subprocess
from pathlib import Path

# Small clusters make small images: more of them a second, and more of their bytes are tables.
SHAPES = {
    "v2": "compat=0.10,cluster_size=512",
    "plain": "cluster_size=512",
    "zlib": "cluster_size=512",
    "zstd": "cluster_size=512,compression_type=zstd",
    "extended": "cluster_size=16384,extended_l2=on",
    "large": "cluster_size=4096,lazy_refcounts=on",
    "wide": "cluster_size=512",
    "short": "cluster_size=16384,extended_l2=on",
}
PACKED = ("zlib", "zstd")


def make_corpus(folder: Path) -> None:
    """Adds the shapes that the folder does not have yet."""
    raw = folder.parent / "raw"
    raw.write_bytes(b"some text " * 300 + bytes(9000) + bytes(range(256)) * 8 + bytes(6000))
    for name, options in SHAPES.items():
        if not (folder / name).exists():
            _make(raw, folder / name, options)
    if not (folder / "frames.zst").exists():  # two frames, as pzstd writes them
        frame = subprocess.run(["zstd", "-q", "-c", raw], check=True, stdout=subprocess.PIPE).stdout
        (folder / "frames.zst").write_bytes(frame + frame)


def _make(raw: Path, image: Path, options: str) -> None:
    name, compress = image.name, ["-c"] if image.name in PACKED else []
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *compress, "-o", options, raw, image], check=True
    )
    if name == "wide":
        subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", image, "1280k"], check=True)
    subprocess.run(["qemu-img", "snapshot", "-c", "s", image], check=True)
    changes = ["write 512 700", "write -z 4k 2k", "discard 8k 4k"]
    # More L2 tables than the reader keeps: each maps 32 KiB of the guest.
    changes += [f"write {at * 32}k 512" for at in range(40)] if name == "wide" else []
    commands = [word for change in changes for word in ("-c", change)]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, image], check=True, stdout=subprocess.DEVNULL)
    if name == "short":  # covers a former fault: subclusters were taken to lie beyond the end of the file
        os.truncate(image, image.stat().st_size - 16384 + 600)
