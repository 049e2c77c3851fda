"""Every operation, killed by SIGKILL at every step's boundaries, forwards and while it is undone, on both databases.

One service process goes through all the cases of a database: it dies by its own hand where the case says, is started
again, and then everything must be settled, nothing left over, and the bytes as the oracle says.
"""

from collections.abc import Callable
from typing import Any

import pytest
from backends import COPYING, INSTANT, SIMULATED_LIO, TWO_POOLS, Backend
from killing import ATTACHMENT_CASES, CASES, World, run_case
from serving import ServiceProcess


def _make_world(make_service: Callable[..., ServiceProcess], request: pytest.FixtureRequest, backend: Backend) -> World:
    given: dict[str, Any] = {}
    if "postgresql" in request.node.name:
        given["database"] = request.getfixturevalue("postgres").database()
    return World(make_service(backend=backend, **given))


GROUPS = 4


@pytest.mark.row("S021", "S032", "S074")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("backend", ["copying", "instant"])
@pytest.mark.parametrize("kind_of_database", ["sqlite", "postgresql"])
def test_killed_at_every_step_it_ends_settled(
    make_service: Callable[..., ServiceProcess],
    request: pytest.FixtureRequest,
    kind_of_database: str,
    backend: str,
    group: int,
) -> None:
    """Whatever step the process dies at, after the next start all is settled and nothing is left over."""
    world = _make_world(make_service, request, {"copying": COPYING, "instant": INSTANT}[backend])
    cases = CASES[group::GROUPS]
    for case in cases:
        run_case(world, case)
    print(f"{len(cases)} of {len(CASES)} kill points on {kind_of_database}, {backend} backend")


@pytest.mark.row("S021")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", range(GROUPS))
def test_killed_with_two_pools(
    make_service: Callable[..., ServiceProcess], request: pytest.FixtureRequest, group: int
) -> None:
    """The same with volumes in two pools of one backend: what a step left in a pool is found again in that one."""
    world = _make_world(make_service, request, TWO_POOLS)
    for case in CASES[group::GROUPS]:
        run_case(world, case)
    print(f"{len(CASES[group::GROUPS])} of {len(CASES)} kill points with two pools")


@pytest.mark.row("S021", "S068")
@pytest.mark.timeout(600)
def test_killed_with_its_targets(make_service: Callable[..., ServiceProcess], request: pytest.FixtureRequest) -> None:
    """Exports by LIO, all of whose configuration is lost at each kill: settled, complete and without leftovers."""
    world = _make_world(make_service, request, SIMULATED_LIO)
    for case in ATTACHMENT_CASES:
        run_case(world, case)
    print(f"{len(ATTACHMENT_CASES)} kill points with simulated LIO")
