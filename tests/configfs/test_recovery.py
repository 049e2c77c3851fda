"""A service on LVM and LIO, killed at every step. Collected only in the rig's machines, see tests/conftest.py.

NBDSVC_TEST_KINDS: kinds of operations, separated by commas; all, unless it is set.
"""

import os
from collections.abc import Callable

import pytest
from backends import machine
from killing import CASES, World, run_case
from serving import ServiceProcess

KINDS = [kind for kind in os.environ.get("NBDSVC_TEST_KINDS", "").split(",") if kind]


@pytest.mark.row("S021", "S028", "S030", "S067", "S068", "S069")
@pytest.mark.timeout(7200)
def test_killed_at_every_step_on_lvm_and_lio(make_service: Callable[..., ServiceProcess]) -> None:
    """Whatever step the process dies at, all is settled after the next start: rows, LVs, targets, and the bytes."""
    cases = [case for case in CASES if not KINDS or case.kind in KINDS]
    assert cases
    world = World(make_service(backend=machine()))
    for case in cases:
        run_case(world, case)
        print(f"ok {case}", flush=True)
    print(f"{len(cases)} of {len(CASES)} kill points on LVM and LIO")
