"""Many creations at once never promise more than the pools have: on both databases, thin and thick, across extends."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.config import Settings
from nbdsvc.driver import PoolStats
from nbdsvc.model import clock, names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.operations.client import Operations
from nbdsvc.store import backends, promises, repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB
from nbdsvc.volumes.create import CreateVolumeRequest, create_volume
from nbdsvc.volumes.extend import extend_volume

AT_ONCE = 50
THICK = PoolStats("p", 100 * GiB, 100 * GiB, 0, 0, 0, thin=False)
# A pool of 10 GiB that may promise twice its size.
THIN = PoolStats("p", 10 * GiB, 10 * GiB, 0, 0, 0, max_over_subscription_ratio=2.0)
# What is in it besides volumes with rows takes 3 of 13 GiB, in front of which no new volume may hide.
BESIDE = PoolStats("p", 13 * GiB, 10 * GiB, 3 * GiB, 3 * GiB, 0, thin=False)


def _app(database: Database) -> App:
    settings = Settings(quota_volumes=-1, quota_gigabytes=-1)
    return App(database, Operations(database, None), settings, None, {f"h@b{n}": clock.monotonic() for n in range(9)})


def _report(database: Database, pools: Sequence[PoolStats]) -> None:
    """A backend of one pool each, as its host reports it."""
    with database.write() as conn:
        for number, pool in enumerate(pools):
            settled = promises.settled(conn, "h", f"b{number}")
            measured, reported = promises.measured(settled, settled), {"protocols": []}
            backends.report(conn, "h", f"b{number}", "nova", [pool], measured, working=True, capabilities=reported)


def _context(project: int = 0) -> Context:
    return Context(f"p{project}", "u", frozenset({ADMIN}), names.new_id())


@contextmanager
def _together(count: int) -> Iterator[Callable[[Callable[[int], None]], list[Exception | None]]]:
    """Call a function with each number up to `count`, at the same moment; what each call raised."""
    barrier = threading.Barrier(count)

    def call(function: Callable[[int], None], number: int) -> Exception | None:
        barrier.wait(30)
        try:
            function(number)
        except errors.OutOfSpace as error:
            return error
        return None

    with ThreadPoolExecutor(count) as threads:
        yield lambda function: list(threads.map(lambda number: call(function, number), range(count)))


def _promised(database: Database) -> dict[str, int]:
    """GiB of the volumes of each backend."""
    with database.read() as conn:
        return {backend: size // GiB for (_host, backend, _pool), size in promises.by_pool(conn).items()}


@pytest.mark.parametrize(
    ("pools", "room"),
    [
        ([replace(THICK, free=10 * GiB), replace(THICK, free=7 * GiB)], {"b0": 10, "b1": 7}),
        ([THIN, THIN], {"b0": 20, "b1": 20}),
        ([THIN, replace(THICK, free=9 * GiB), BESIDE], {"b0": 20, "b1": 9, "b2": 10}),
    ],
    ids=["thick", "thin", "both"],
)
def test_creations_at_once_fill_the_pools_and_no_more(
    database: Database, pools: list[PoolStats], room: dict[str, int]
) -> None:
    """Of fifty creations of 1 GiB, of as many projects, as many are accepted as there is room for, and none beyond it."""
    _report(database, pools)
    app = _app(database)
    with _together(AT_ONCE) as run:
        refused = run(lambda number: void(create_volume(app, _context(number), CreateVolumeRequest(size=1))))
    assert _promised(database) == room
    assert sum(error is None for error in refused) == sum(room.values())


def void(_result: object) -> None:
    """For calls of which only the error counts."""


def test_creations_and_extends_at_once(database: Database) -> None:
    """Twenty-five extends by 1 GiB and as many creations share what is left, and none of it is promised twice."""
    _report(database, [replace(THICK, free=35 * GiB)])
    app, half = _app(database), AT_ONCE // 2
    made = [create_volume(app, _context(n), CreateVolumeRequest(size=1))[0].id for n in range(half)]
    with database.write() as conn:
        for id in made:
            repositories.volumes.transition(conn, id, ["creating"], "available", action="create")

    def ask(number: int) -> None:
        if number < half:
            extend_volume(app, _context(number), made[number], 2, online=False)
        else:
            create_volume(app, _context(number), CreateVolumeRequest(size=1))

    with _together(AT_ONCE) as run:
        refused = run(ask)
    assert _promised(database) == {"b0": 35}
    assert sum(error is None for error in refused) == 35 - half


def test_what_has_no_row_hides_no_promise(database: Database) -> None:
    """Snapshots and foreign objects in a pool's report are no room for volumes that come after it."""
    _report(database, [BESIDE])
    app = _app(database)
    for _ in range(10):
        create_volume(app, _context(), CreateVolumeRequest(size=1))
    with pytest.raises(errors.NoRoom):
        create_volume(app, _context(), CreateVolumeRequest(size=1))


_settled = st.frozensets(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 3)), max_size=5)


@given(_settled, _settled)
def test_only_what_rested_was_measured(before: promises.Settled, after: promises.Settled) -> None:
    """A volume that was made, resized or removed meanwhile may be in the report or not: it counts as not."""
    found = promises.measured(before, after)
    for pool in "xy":
        assert found.get(pool, 0) == sum(size * GiB for _id, in_, size in before & after if in_ == pool)
