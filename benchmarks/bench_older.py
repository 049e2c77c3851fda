"""This version beside an older one, in turn in the same run: start, create, attach, detach, list 1000, idle memory and CPU.

python benchmarks/bench_older.py [COMMIT [ROUNDS]]: the ratio is ours divided by the older one's; below 1 is faster.
"""

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from measure import cpu_seconds, resident_mib, save

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import older
from serving import ServiceProcess

COMMIT = sys.argv[1] if len(sys.argv) > 1 else older.BEFORE_BACKENDS
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 60
STARTS = 7
LISTED = 1000
# Four periodic repairs of 30 seconds. Both idle at once: a window in which only one is disturbed is not a ratio.
IDLE_SECONDS = 120
# The ratio to the older version that issue 17 allows.
ALLOWED = 1.05

Times = dict[str, list[float]]


def started(service: ServiceProcess, times: Times) -> None:
    began = time.monotonic()
    service.start()
    times["start to ready"].append((time.monotonic() - began) * 1000)


def life(service: ServiceProcess, times: Times) -> None:
    """One volume: created, attached, detached, deleted; milliseconds of each."""
    client = service.client()
    began = time.monotonic()
    volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    times["create to 202"].append((time.monotonic() - began) * 1000)
    while client.get("volumes", volume)["volume"]["status"] != "available":
        time.sleep(0.001)
    times["create to available"].append((time.monotonic() - began) * 1000)
    fields = {"volume_uuid": volume, "connector": {"host": "me"}}
    began = time.monotonic()
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    times["attach"].append((time.monotonic() - began) * 1000)
    began = time.monotonic()
    client.delete("attachments", attachment)
    times["detach"].append((time.monotonic() - began) * 1000)
    client.delete("volumes", volume)


def listed(service: ServiceProcess, times: Times) -> None:
    client, began = service.client(), time.monotonic()
    assert len(client.get("volumes", "detail", limit=LISTED)["volumes"]) == LISTED
    times[f"list {LISTED} in detail"].append((time.monotonic() - began) * 1000)


def fill(service: ServiceProcess) -> None:
    client = service.client()
    for _ in range(LISTED):
        client.post("volumes", body={"volume": {"size": 1}})
    service.settle(600)


def idle(services: list[ServiceProcess], found: list[Times]) -> None:
    """Resident MiB, and milliseconds of processor time a second."""
    pids = [service.process.pid for service in services if service.process]
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(IDLE_SECONDS)
    for pid, times, used in zip(pids, found, before, strict=True):
        times["idle: processor ms a second"].append((cpu_seconds(pid) - used) / IDLE_SECONDS * 1000)
        times["idle: resident MiB"].append(resident_mib(pid))


def measure(services: list[ServiceProcess]) -> list[Times]:
    found: list[Times] = [defaultdict(list) for _ in services]
    pairs = list(zip(services, found, strict=True))
    for at in range(STARTS):
        for service, times in pairs if at % 2 else reversed(pairs):
            started(service, times)
            service.stop()
    for service, _ in pairs:
        service.start()
    for at in range(ROUNDS):
        for service, times in pairs if at % 2 else reversed(pairs):
            life(service, times)
    for service in services:
        service.settle()
    time.sleep(2)
    idle(services, found)
    for service in services:
        fill(service)
    for at in range(ROUNDS):
        for service, times in pairs if at % 2 else reversed(pairs):
            listed(service, times)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "older").mkdir()
        settings: dict[str, Any] = {"repair_interval": 30, "quota_volumes": 2 * LISTED}
        services = [ServiceProcess(folder / who, **settings) for who in ("a", "b")]
        services[1].tree = older.built(COMMIT, folder / "older").tree
        try:
            ours, theirs = measure(services)
        finally:
            for service in services:
                service.stop()
                service.end_exports()
    table = {}
    for what in ours:
        mine, before = statistics.median(ours[what]), statistics.median(theirs[what])
        table[what] = {"ours": mine, COMMIT: before, "ratio": mine / before if before else None}
        ratio = mine / before if before else float("nan")
        print(
            f"{what:30} {mine:9.2f}  {COMMIT} {before:9.2f}  ratio {ratio:.3f}{'  SLOWER' if ratio > ALLOWED else ''}"
        )
    save("older", {"commit": COMMIT, "rounds": ROUNDS, "table": table})


if __name__ == "__main__":
    main()
