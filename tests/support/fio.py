"""fio as the client of a volume: it writes with checksums, and reads them back."""

import json
import subprocess
from collections.abc import Callable


def verify_meanwhile(uri: str, size: str, happens: Callable[[], None]) -> None:
    """Write and verify `size` of a volume at 512 MiB for some seconds, in which the event happens and ends; prints the worst
    latency. AssertionError for bytes that are wrong, an error, or a fio that has ended before.
    """
    argv = ["fio", "--name=w", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=8",
            "--offset=512M", f"--size={size}", "--verify=crc32c", "--verify_backlog=512", "--verify_state_save=0",
            "--time_based", "--runtime=6", "--output-format=json"]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as fio:
        happens()
        assert fio.poll() is None, "fio ended before the migration"
        out, words = fio.communicate(timeout=60)
    assert fio.returncode == 0, words
    job = json.loads(out[out.index("{") :])["jobs"][0]
    print(f"writes: {job['write']['total_ios']}, the worst took {job['write']['clat_ns']['max'] / 1e6:.0f} ms")
    assert job["error"] == 0
