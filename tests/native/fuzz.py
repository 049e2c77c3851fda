"""Builds the fuzzers, makes their corpus with qemu-img, runs them and says what they reached: fuzz.py SECONDS [FOLDER].

FOLDER keeps the corpus as it grows, the sum of all runs, and an input that crashed. Exit status: libFuzzer's.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import reader_coverage
from fuzz_corpus import make_corpus

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
LONGEST_INPUT = 192 << 10


def fuzz(seconds: int, folder: Path) -> int:
    program, corpus = folder / "fuzz_qcow2", folder / "corpus"
    reader_coverage.build(program, SANITIZERS)
    corpus.mkdir(exist_ok=True)
    make_corpus(corpus)
    for path in crashes(folder):  # each input is run again; one that passes now is kept in the corpus
        path.rename(corpus / path.name)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    began = time.monotonic()
    status, executions = run([str(program), *options, str(corpus)])
    tell(folder, executions, time.monotonic() - began)
    return status


def run(command: list[str]) -> tuple[int, int]:
    """libFuzzer's exit status, and how many inputs it ran; what it says goes on to stderr."""
    executions = 0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as child:
        assert child.stderr
        for line in child.stderr:
            sys.stderr.write(line)
            if found := re.match(r"stat::number_of_executed_units: (\d+)", line):
                executions = int(found[1])
    return child.returncode, executions


def crashes(folder: Path) -> list[Path]:
    """What libFuzzer left there of inputs that failed."""
    return [path for path in folder.iterdir() if path.name.startswith(("crash-", "leak-", "timeout-", "oom-"))]


def tell(folder: Path, executions: int, seconds: float) -> None:
    """What this run and all runs in the folder came to, and what of the readers their corpus reaches."""
    file = folder / "totals.json"
    before = json.loads(file.read_text()) if file.exists() else {"executions": 0, "seconds": 0}
    total = {"executions": before["executions"] + executions, "seconds": before["seconds"] + seconds}
    file.write_text(json.dumps(total))
    inputs = [path.stat().st_size for path in (folder / "corpus").iterdir()]
    bad = [path.name for path in crashes(folder)]
    print(f"executions   {executions} in {seconds / 3600:.2f} h", end="")
    print(f"; all runs here: {total['executions']} in {total['seconds'] / 3600:.2f} h")
    print(f"corpus       {len(inputs)} inputs, {sum(inputs) / (1 << 20):.1f} MiB")
    print(f"crashes      {len(bad)} {' '.join(bad)}".rstrip())
    if not bad:  # a bad input would have ended the replay too
        reader_coverage.show(folder)


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
