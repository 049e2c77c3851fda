"""A decision over 200 pools: every filter, an expression of each kind, all weighers; and with 10,000 volumes' rows. Goal: 5 ms."""

import tempfile
import time
from pathlib import Path

from measure import save, shown, spread

from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.config import Settings
from nbdsvc.driver import PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.entities import Volume
from nbdsvc.operations.client import Operations
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.decide import decide
from nbdsvc.store import backends, migrate, repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB

POOLS, DECISIONS, VOLUMES = 200, 300, 10_000
FILTER = "volume.size < 500 and stats.total_volumes < 1000 and capabilities.tier == 'gold'"
GOODNESS = "stats.free_capacity_gb / stats.total_capacity_gb * 100"
WEIGHTS = {"capacity": 1.0, "allocated_capacity": -1.0, "volume_number": -1.0, "goodness": 1.0, "chance": 0.1}
SPECS = {"capabilities:thin_provisioning": "<is> True", "tier": "<or> gold <or> silver", "free_capacity_gb": ">= 1"}


def candidate(number: int, *, functions: bool) -> Candidate:
    pool = PoolStats(f"p{number}", 1000 * GiB, (number + 1) * GiB, 10 * GiB, GiB, number)
    has = {"thin_provisioning": True, "tier": "gold", "free_capacity_gb": number + 1.0, "storage_protocol": ["nbd"]}
    return Candidate(
        f"h{number % 20}", f"b{number}", pool, "nova", up=True, enabled=True, room=pool.room(), capabilities=has,
        filter_function=FILTER if functions else None, goodness_function=GOODNESS if functions else None,
    )  # fmt: skip


def measure(*, functions: bool) -> dict[str, float]:
    """Milliseconds of processor time of a decision, which waits for nothing."""
    pools = [candidate(number, functions=functions) for number in range(POOLS)]
    times = []
    for number in range(DECISIONS):
        began = time.process_time()
        decided = decide(Request(10 * GiB, "nova", SPECS, seed=str(number)), pools, WEIGHTS)
        times.append((time.process_time() - began) * 1000)
        assert len(decided.ranked) == POOLS
    return spread(times)


def measure_rows() -> dict[str, float]:
    """The same with what it reads: the rows of backends and pools, and the sums over the volumes of each."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(str(Path(folder) / "bench.db"))
        migrate.upgrade(database)
        with database.write() as conn:
            for number in range(POOLS):
                pool = candidate(number, functions=False).pool
                backends.report(conn, "h", f"b{number}", "nova", [pool], {}, working=True, capabilities={})
            for number in range(VOLUMES):
                where = ("h", f"b{number % POOLS}", f"p{number % POOLS}")
                repositories.volumes.insert(conn, Volume(names.new_id(), "p", "u", 1, "available", *where))
        reported = {f"h@b{number}": clock.monotonic() for number in range(POOLS)}
        app, times = App(database, Operations(database, None), Settings(), None, reported), []
        for _ in range(DECISIONS):
            began = time.process_time()
            with database.read() as conn:
                decided = placement.choose(app, conn, Request(GiB, "nova"))
            times.append((time.process_time() - began) * 1000)
            assert len(decided.ranked) + len(decided.refused) == POOLS
        database.close()
    return spread(times)


def main() -> None:
    """Print and keep all."""
    found = {
        "without functions": measure(functions=False),
        "with functions": measure(functions=True),
        f"with the rows of {VOLUMES} volumes": measure_rows(),
    }
    for name, times in found.items():
        print(f"{POOLS} pools, {name}: {shown(times)} ms of processor time a decision")
    save("scheduler", {"pools": POOLS, "milliseconds": found})


if __name__ == "__main__":
    main()
