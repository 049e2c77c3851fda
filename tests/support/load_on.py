"""Clients at work on a fleet while a block runs."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fleet import BACKEND, Fleet
from load import BLOCK, BLOCKS, IMAGE, Owner
from waiting import wait_until

from nbdsvc import errors


@contextmanager
def loaded(fleet: Fleet, count: int = 3) -> Iterator[list[Owner]]:
    """So many clients; when the block ends, they do."""
    content = b"".join(bytes([200 + number]) * BLOCK for number in range(BLOCKS))
    for host in fleet.hosts.values():
        (host.state / "images" / IMAGE).write_bytes(content)
        for pool in BACKEND.folders:
            name, specs = f"pool-{host.name}-{pool}", {"site": host.name, "volume_backend_name": pool}
            fleet.client().post("types", body={"volume_type": {"name": name, "extra_specs": specs}})
    owners = [Owner(fleet, seed) for seed in range(count)]
    for owner in owners:
        owner.thread.start()
    try:
        yield owners
    finally:
        for owner in owners:
            owner.ended.set()
        for owner in owners:
            owner.thread.join()


def busy(owners: list[Owner], deeds: int, seconds: float = 20) -> None:
    """Wait until so many more deeds are done by all of them together; not longer than so many seconds."""
    done: Callable[[], int] = lambda: sum(owner.counts.done for owner in owners)  # noqa: E731
    wanted, end = done() + deeds, time.monotonic() + seconds
    while done() < wanted and time.monotonic() < end:
        time.sleep(0.01)


@contextmanager
def freezing(fleet: Fleet) -> Iterator[None]:
    """An administrator who freezes a backend and thaws it again, now and then, while the block runs; in the end none is."""
    ended = threading.Event()

    def work() -> None:
        dice = random.Random(5)
        while not ended.wait(1):
            name = f"{dice.choice(list(fleet.hosts))}@{dice.choice(BACKEND.folders)}"
            for verb in ("freeze", "thaw"):
                with contextlib.suppress(errors.Error, OSError):
                    fleet.client().put("os-services", verb, body={"host": name})
                ended.wait(0.5)

    thread = threading.Thread(target=work, name="administrator", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        wait_until(lambda: _thaw_all(fleet), 60)


def _thaw_all(fleet: Fleet) -> bool:
    """Whether nothing is frozen any more."""
    client = fleet.client()
    frozen = [row["host"] for row in client.get("os-services")["services"] if row["frozen"]]
    for host in frozen:
        with contextlib.suppress(errors.Error, OSError):
            client.put("os-services", "thaw", body={"host": host})
    return not frozen
