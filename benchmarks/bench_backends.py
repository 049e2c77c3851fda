"""A backend that hangs beside two that do not: their latencies before, and while every command of the third one hangs.

`bench_backends.py SECONDS` measures for so long before and as long during.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import save, shown, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from serving import ServiceProcess

from drivers.memory import Faults
from nbdsvc.cli.client import Client

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60
BACKENDS = "solid.driver = 'file', quick.driver = 'memory', swamp.driver = 'memory'"
WELL = ("solid", "quick")
# Seconds between two rounds.
PAUSE_SECONDS = 1.0
# More operations than a backend has slots for one project.
STUCK = 40
HANGING = ("create_volume", "delete_volume", "extend_volume", "check_for_setup_error", "get_volume_stats")


def one_life(service: ServiceProcess, client: Client, backend: str, times: dict[str, list[float]]) -> None:
    """Create, attach, detach, delete; milliseconds of each."""

    def note(what: str, began: float) -> None:
        times.setdefault(f"{backend}: {what}", []).append((time.monotonic() - began) * 1000)

    began = time.monotonic()
    volume = client.post("volumes", body={"volume": {"size": 1, "volume_type": backend}})["volume"]["id"]
    service.wait_status("volumes", volume)
    note("create to available", began)
    began = time.monotonic()
    wanted = {"volume_uuid": volume, "connector": {"host": "me"}}
    attachment = client.post("attachments", body={"attachment": wanted})["attachment"]["id"]
    note("attach", began)
    began = time.monotonic()
    client.delete("attachments", attachment)
    note("detach", began)
    began = time.monotonic()
    client.delete("volumes", volume)
    service.wait_status("volumes", volume)
    note("delete", began)


def lives(service: ServiceProcess, seconds: float) -> dict[str, dict[str, float]]:
    client, times = service.client(), {}  # type: ignore[var-annotated]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for backend in WELL:
            one_life(service, client, backend, times)
        time.sleep(PAUSE_SECONDS)
    return {what: {**spread(values), "count": len(values)} for what, values in times.items()}


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        service = ServiceProcess(Path(folder), backends=BACKENDS, repair_interval=2).start()
        try:
            client = service.client()
            for name in (*WELL, "swamp"):
                client.post("types", body={"volume_type": {"name": name, "extra_specs": {"volume_backend_name": name}}})
            before = lives(service, SECONDS)
            Faults(service.state / "pools" / "swamp", "swamp").plan({verb: [{"delay": 86400}] for verb in HANGING})
            for _ in range(STUCK):
                client.post("volumes", body={"volume": {"size": 1, "volume_type": "swamp"}})
            during = lives(service, SECONDS)
            rows = client.get("os-services")["services"]
        finally:
            service.kill()
            service.end_exports()
    return {"before_ms": before, "during_ms": during, "states": {row["host"]: row["state"] for row in rows}}


def main() -> None:
    found = measure()
    for what, figures in found["before_ms"].items():
        during = found["during_ms"][what]
        print(f"{what:28} before {shown(figures, 1)} ms, during {shown(during, 1)} ms")
    print("states:", found["states"])
    save("backends", {"command": f"benchmarks/bench_backends.py {SECONDS:.0f}", **found})


main()
