"""Latencies of the service: start, create, attach, detach, cancel, list 1000; memory and CPU when idle."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import cpu_seconds, resident_mib, save, shown, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from serving import UNFINISHED, ServiceProcess

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
STARTS = 5
LISTED = 1000
IDLE_SECONDS = 10
# Large enough that a copy of it is under way when it is cancelled, on any disk.
IMAGE_MIB = 2048
CANCEL_AFTER = 0.3


class Stopwatch:
    """Milliseconds by what was timed."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    @contextmanager
    def timing(self, *what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        for name in what:
            self.times.setdefault(name, []).append((time.monotonic() - began) * 1000)


def starts(service: ServiceProcess, watch: Stopwatch) -> None:
    for _ in range(STARTS):
        with watch.timing("start to ready"):
            service.start()
        service.stop()


def life(service: ServiceProcess, watch: Stopwatch) -> None:
    client = service.client()
    for _ in range(ROUNDS):
        with watch.timing("create: to available"):
            with watch.timing("create: to 202"):
                volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
            service.wait_status("volumes", volume)
        fields = {"volume_uuid": volume, "connector": {"host": "me"}}
        with watch.timing("attach: to connection_info"):
            attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
        with watch.timing("detach: to no access"):
            client.delete("attachments", attachment)


def cancels(service: ServiceProcess, watch: Stopwatch) -> None:
    """A copy of an image, cancelled in the middle: from the request until it is undone."""
    client, block = service.client(), bytes(range(256)) * 4096
    with (service.state / "images" / "big.raw").open("wb") as image:
        for _ in range(IMAGE_MIB):
            image.write(block)
    for _ in range(ROUNDS):
        fields = {"size": IMAGE_MIB // 1024, "imageRef": "big.raw"}
        volume = client.post("volumes", body={"volume": fields})["volume"]["id"]
        time.sleep(CANCEL_AFTER)
        found = client.get("operations", kind="volume.create", limit=1)["operations"][0]
        if found["state"] not in UNFINISHED:
            sys.exit(f"the copy was {found['state']} after {CANCEL_AFTER} s: make the image larger")
        with watch.timing("cancel of a copy: to undone"):
            client.act("operations", found["id"], "cancel")
            while client.get("operations", found["id"])["operation"]["state"] in UNFINISHED:
                time.sleep(0.002)
        client.delete("volumes", volume)
    service.settle()


def lists(service: ServiceProcess, watch: Stopwatch) -> None:
    client = service.client()
    for _ in range(LISTED - len(client.get("volumes", limit=LISTED)["volumes"])):
        client.post("volumes", body={"volume": {"size": 1}})
    service.settle(300)
    for _ in range(ROUNDS):
        with watch.timing(f"list {LISTED} in detail"):
            assert len(client.get("volumes", "detail", limit=LISTED)["volumes"]) == LISTED


def idle(service: ServiceProcess) -> dict[str, float]:
    assert service.process
    pid = service.process.pid
    time.sleep(2)
    before = cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)
    cpu = (cpu_seconds(pid) - before) / IDLE_SECONDS * 100
    return {"rss_mib": resident_mib(pid), "cpu_percent": cpu}


def measure() -> dict[str, Any]:
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        service = ServiceProcess(Path(folder), repair_interval=30, quota_volumes=2 * LISTED)
        try:
            starts(service, watch)
            service.start()
            for part in (life, cancels, lists):
                part(service, watch)
            at_rest = idle(service)
        finally:
            service.stop()
            service.end_exports()
    return {"table_ms": {what: spread(values) for what, values in watch.times.items()}, "idle": at_rest}


def main() -> None:
    found = measure()
    for what, figures in found["table_ms"].items():
        print(f"{what:28} {shown(figures, 1)} ms")
    print(
        "idle with {} volumes: {rss_mib:.0f} MiB resident, {cpu_percent:.2f} % of a core".format(
            LISTED, **found["idle"]
        )
    )
    save("service", {"command": f"benchmarks/bench_service.py {ROUNDS}", **found})


main()
