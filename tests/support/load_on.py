"""Clients at work on a fleet while a block runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fleet import BACKEND, Fleet
from load import BLOCK, BLOCKS, IMAGE, PLAIN, Owner
from load_replicated import DOUBLE, Replicating


@contextmanager
def loaded(fleet: Fleet, count: int = 3) -> Iterator[list[Owner]]:
    """So many clients, and one more of the backend that replicates, if there is one; when the block ends, they do."""
    content = b"".join(bytes([200 + number]) * BLOCK for number in range(BLOCKS))
    for host in fleet.hosts.values():
        (host.state / "images" / IMAGE).write_bytes(content)
        for pool in BACKEND.folders:
            name, specs = f"pool-{host.name}-{pool}", {"site": host.name, "volume_backend_name": pool}
            fleet.client().post("types", body={"volume_type": {"name": name, "extra_specs": specs}})
    _new_type(fleet, PLAIN)
    owners = [Owner(fleet, seed) for seed in range(count)]
    if fleet.replicates:
        _new_type(fleet, DOUBLE, replication="<is> True")
        owners.append(Replicating(fleet, count))
    for owner in owners:
        owner.thread.start()
    try:
        yield owners
    finally:
        for owner in owners:
            owner.ended.set()
        for owner in owners:
            owner.thread.join()


def _new_type(fleet: Fleet, use: str, **specs: str) -> None:
    fleet.client().post("types", body={"volume_type": {"name": use, "extra_specs": {"use": use, **specs}}})


def busy(owners: list[Owner], deeds: int, seconds: float = 20) -> None:
    """Wait until so many more deeds are done by all of them together; not longer than so many seconds."""
    done: Callable[[], int] = lambda: sum(owner.counts.done for owner in owners)  # noqa: E731
    wanted, end = done() + deeds, time.monotonic() + seconds
    while done() < wanted and time.monotonic() < end:
        time.sleep(0.01)
