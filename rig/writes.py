"""Writes during which a fault is injected: each has a checksum, and all are read back at the end."""

import json

from rig.product import Initiator

VERIFY = ["--rw=randwrite", "--bs=4k", "--size=64m", "--direct=1", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
          "--time_based", "--iodepth=8", "--ioengine=libaio", "--output-format=json"]  # fmt: skip


def begin_writes(local: Initiator, device: str, seconds: int) -> None:
    """Start random writes with a checksum in each, for `seconds`; then all of them are read back."""
    # A thin volume's new blocks are durable only after its next flush; the fault must not lose them.
    local.agent.shell(f"dd if=/dev/zero of={device} bs=1M count=64 oflag=direct conv=fsync status=none")
    argv = ["fio", "--name=w", f"--filename={device}", f"--runtime={seconds}", *VERIFY]
    local.agent.run("rm", "-f", "/tmp/fio.json")
    local.agent.start(*argv, log="/tmp/fio.json")


def end_writes(local: Initiator) -> float:
    """Wait for the writes; seconds of the longest one. AssertionError for an I/O error or a wrong checksum."""
    local.agent.shell("while pidof fio > /dev/null; do sleep 0.2; done", timeout=300)
    report = local.agent.shell("cat /tmp/fio.json; rm /tmp/fio.json")
    job = json.loads(report[report.index("{") :])["jobs"][0]
    assert job["error"] == 0, f"fio: error {job['error']}: {report[: report.index('{')]}"
    assert job["write"]["total_ios"] > 100
    longest = job["write"]["clat_ns"]["max"] / 1e9
    print(f"{job['write']['total_ios']} writes verified; the longest took {longest:.2f} s")
    return float(longest)
