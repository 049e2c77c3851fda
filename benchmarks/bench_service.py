"""Latencies of the service: start, create, attach, detach, list 1000; memory and CPU when idle."""

import sys
import tempfile
import time
from pathlib import Path

from measure import cpu_seconds, save, shown, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from serving import ServiceProcess

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
LISTED = 1000
IDLE_SECONDS = 10


def main() -> None:
    times: dict[str, list[float]] = {}

    def timed(what: str, began: float) -> None:
        times.setdefault(what, []).append((time.monotonic() - began) * 1000)

    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        service = ServiceProcess(Path(folder), repair_interval=30)
        for _ in range(5):
            began = time.monotonic()
            service.start()
            timed("start to ready", began)
            service.stop()
        service.start()
        client = service.client()
        for _ in range(ROUNDS):
            began = time.monotonic()
            volume = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
            timed("create: to 202", began)
            service.wait_status("volumes", volume)
            timed("create: to available", began)
            began = time.monotonic()
            wish = {"volume_uuid": volume, "connector": {"host": "me"}}
            attachment = client.post("attachments", body={"attachment": wish})["attachment"]["id"]
            timed("attach: to connection_info", began)
            began = time.monotonic()
            client.delete("attachments", attachment)
            timed("detach: to no access", began)
        while len(client.get("volumes", limit=LISTED)["volumes"]) < LISTED - 1:
            client.post("volumes", body={"volume": {"size": 1}})
            if len(times.setdefault("created", [])) > LISTED:
                break
            times["created"].append(0)
        times.pop("created", None)
        service.settle(300)
        for _ in range(ROUNDS):
            began = time.monotonic()
            client.get("volumes", "detail", limit=LISTED)
            timed("list 1000 in detail", began)
        assert service.process
        pid = service.process.pid
        time.sleep(2)
        before = cpu_seconds(pid)
        time.sleep(IDLE_SECONDS)
        cpu = (cpu_seconds(pid) - before) / IDLE_SECONDS * 100
        rss = int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024
        service.stop()
        service.end_exports()
    table = {what: spread(values) for what, values in times.items()}
    for what, found in table.items():
        print(f"{what:28} {shown(found, 1)} ms")
    print(f"idle with {LISTED} volumes: {rss:.0f} MiB resident, {cpu:.2f} % of a core")
    save(
        "service",
        {
            "command": f"benchmarks/bench_service.py {ROUNDS}",
            "table_ms": table,
            "idle": {"rss_mib": rss, "cpu_percent": cpu},
        },
    )


main()
