"""Migration and retype, killed by SIGKILL at every step's boundaries, forwards and while they are undone."""

from collections.abc import Callable
from typing import Any

import pytest
from backends import Backend
from kill_moves import ONE_BACKEND, TWO_BACKENDS, MovingWorld, cases, run_case
from serving import ServiceProcess

GROUPS = 3


@pytest.mark.row("S021", "S033", "S034", "S085")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("how", ["copied", "between backends", "moved"])
@pytest.mark.parametrize("kind_of_database", ["sqlite", "postgresql"])
def test_killed_while_a_volume_is_moved(
    make_service: Callable[..., ServiceProcess],
    request: pytest.FixtureRequest,
    kind_of_database: str,
    how: str,
    group: int,
) -> None:
    """Whatever step the process dies at, the volume is whole in one pool, nothing is in the other, and room is promised once."""
    given: dict[str, Any] = {}
    if kind_of_database == "postgresql":
        given["database"] = request.getfixturevalue("postgres").database()
    backend: Backend = TWO_BACKENDS if how == "between backends" else ONE_BACKEND
    if how == "copied":  # also a retype, for which there is no force_host_copy
        options = str(backend.settings["driver_options"]) + ", moves_volumes = false"
        backend = Backend(settings={**backend.settings, "driver_options": options}, folders=backend.folders)
    world = MovingWorld(make_service(backend=backend, **given))
    all_cases = cases(copied=how != "moved")
    for case in all_cases[group::GROUPS]:
        run_case(world, case)
    print(f"{len(all_cases[group::GROUPS])} of {len(all_cases)} kill points on {kind_of_database}, {how}")
