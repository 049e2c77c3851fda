"""Builds the fuzzers, makes their corpus with qemu-img, and runs them: fuzz.py SECONDS [FOLDER].

FOLDER keeps the corpus as it grows, and an input that crashed. Exit status: libFuzzer's.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READER = ("input.c", "source.c", "qcow2.c", "qcow2_open.c", "qcow2_map.c")
FLAGS = ["-g", "-O1", "-std=gnu11", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-D_GNU_SOURCE"]
# Small clusters make small images: more of them a second, and more of their bytes are tables.
SHAPES = {
    "v2": "compat=0.10,cluster_size=512",
    "plain": "cluster_size=512",
    "zlib": "cluster_size=512",
    "zstd": "cluster_size=512,compression_type=zstd",
    "extended": "cluster_size=16384,extended_l2=on",
    "large": "cluster_size=4096,lazy_refcounts=on",
}
LONGEST_INPUT = 192 << 10


def build(program: Path) -> None:
    parts = [str(ROOT / "native" / name) for name in READER]
    test = str(ROOT / "tests/native/fuzz_qcow2.c")
    command = ["clang-14", *FLAGS, f"-I{ROOT / 'native'}", "-o", str(program), test, *parts]
    subprocess.run([*command, "-ldeflate", "-lzstd", "-lpthread"], check=True)


def make_corpus(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    raw = folder.parent / "raw"
    raw.write_bytes(b"some text " * 300 + bytes(9000) + bytes(range(256)) * 8 + bytes(6000))
    for name, options in SHAPES.items():
        image = folder / name
        packed = ["-c"] if name in ("zlib", "zstd") else []
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *packed, "-o", options, raw, image], check=True
        )
        subprocess.run(["qemu-img", "snapshot", "-c", "s", image], check=True)
        changes = ["-c", "write 512 700", "-c", "write -z 4k 2k", "-c", "discard 8k 4k"]
        subprocess.run(["qemu-io", "-f", "qcow2", *changes, image], check=True, stdout=subprocess.DEVNULL)


def fuzz(seconds: int, folder: Path) -> int:
    program, corpus = folder / "fuzz_qcow2", folder / "corpus"
    build(program)
    if not corpus.exists():
        make_corpus(corpus)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    return subprocess.run([program, *options, "-timeout=10", "-rss_limit_mb=2048", corpus], check=False).returncode


def main() -> int:
    seconds = int(sys.argv[1])
    if len(sys.argv) > 2:
        folder = Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        return fuzz(seconds, folder)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        return fuzz(seconds, Path(name))


if __name__ == "__main__":
    sys.exit(main())
