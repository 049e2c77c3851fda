"""The qcow2 reader fuzzed for some seconds on every run; `make fuzz SECONDS=n` does it for long."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10


def test_fuzzing_the_reader_finds_nothing() -> None:
    """libFuzzer with ASan and UBSan, from images of every shape that QEMU writes: no crash, and most code is reached."""
    command = [sys.executable, str(ROOT / "tests/native/fuzz.py"), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-4000:]
    executions = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    assert executions
    assert int(executions[1]) > 300  # each execution opens an image several times, under sanitizers
    reached = re.findall(r"^(qcow2\w*\.c) .*?([\d.]+) %\s.*?([\d.]+) %$", done.stdout, re.MULTILINE)
    assert len(reached) == 3, done.stdout
    for name, lines, branches in reached:
        assert float(lines) > 80, name
        assert float(branches) > 60, name
    assert re.search(r"^unpack\.c .*?([89]\d|100)\.\d %", done.stdout, re.MULTILINE), done.stdout
    print(done.stdout)
