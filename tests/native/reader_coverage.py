"""Builds the fuzzer of the readers, and tells which of their lines and branches a corpus reaches."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READER = ("input.c", "source.c", "qcow2.c", "qcow2_open.c", "qcow2_map.c", "unpack.c")
FLAGS = ["-g", "-O1", "-std=gnu11", "-D_GNU_SOURCE", "-Wno-macro-redefined"]
COVERED = ["-fsanitize=fuzzer", "-fprofile-instr-generate", "-fcoverage-mapping"]


def build(program: Path, flags: list[str]) -> None:
    parts = [str(ROOT / "native" / "source" / name) for name in READER]
    test = str(ROOT / "tests/native/fuzz_qcow2.c")
    command = ["clang-14", *FLAGS, *flags, f"-I{ROOT / 'native'}", "-o", str(program), test, *parts]
    subprocess.run([*command, "-ldeflate", "-lzstd", "-lpthread"], check=True)


def show(folder: Path) -> None:
    """A row for each file of the readers. Sanitizers would count their own branches, so it is another build."""
    program, raw, merged = folder / "covered", folder / "profraw", folder / "profile"
    build(program, COVERED)
    environment = os.environ | {"LLVM_PROFILE_FILE": str(raw)}
    replay = [str(program), "-runs=0", f"-artifact_prefix={folder}/", str(folder / "corpus")]
    subprocess.run(replay, env=environment, check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["llvm-profdata-14", "merge", "-sparse", str(raw), "-o", str(merged)], check=True)
    report = ["llvm-cov-14", "export", "-summary-only", f"-instr-profile={merged}", str(program)]
    found = json.loads(subprocess.run(report, check=True, capture_output=True).stdout)
    print(f"{'reader':<16}{'lines':>20}{'branches':>20}")
    for file in found["data"][0]["files"]:
        if Path(file["filename"]).name in READER:
            summary = file["summary"]
            print(f"{Path(file['filename']).name:<16}{_share(summary['lines'])}{_share(summary['branches'])}")


def _share(counts: dict[str, int]) -> str:
    covered, count = counts["covered"], counts["count"]
    text = f"{covered} of {count}, {100 * covered / count if count else 100:.1f} %"
    return f"{text:>20}"
