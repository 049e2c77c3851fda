"""The cases of killing either process of a move between two hosts, and what must be true after each."""

import json
import os
from dataclasses import dataclass

from between import KINDS, Between
from killing import BACKWARD, FORWARD
from serving import PATIENCE
from waiting import wait_until

from nbdsvc.operation_types import TYPES_BY_NAME

# Where each step runs: host a has the source.
PLACES = {"create": "b", "serve": "b", "copy": "a", "unserve": "b", "switch": "b", "finish": "b", "remove": "a"}
STEPS = [each.name for each in TYPES_BY_NAME[KINDS[0]].steps]


@dataclass(frozen=True)
class BetweenCase:
    """fail: the step after which the operation fails; None: it does not. victim: the process that dies at the moment."""

    kind: str
    moment: str
    step: str
    fail: str | None
    victim: str

    def __str__(self) -> str:
        failing = f", which fails after {self.fail}" if self.fail else ""
        return f"{self.kind}{failing}, {self.moment} {self.step}: {self.victim} dies"

    @property
    def is_undone(self) -> bool:
        return self.fail is not None and STEPS.index(self.fail) < STEPS.index("switch")


def cases() -> list[BetweenCase]:
    """Every boundary of every step and every undo, on each side; what fails after the switch goes forward."""
    found = []
    for kind in KINDS:
        for victim in ("a", "b"):
            found += [BetweenCase(kind, moment, step, None, victim) for step in STEPS for moment in FORWARD]
            for fail in ("unserve", "finish"):
                undone = STEPS[: STEPS.index(fail) + 1]
                found += [BetweenCase(kind, moment, step, fail, victim) for step in undone for moment in BACKWARD]
    return found


def run_case(world: Between, case: BetweenCase) -> None:
    """Move a volume, let a process die where the case says, start it again; then all is settled, whole and counted once."""
    id, victim = world.written(), world.hosts[case.victim]
    assert victim.process
    plan = {"kind": case.kind, "moment": case.moment, "step": case.step, "fail": case.fail, "pid": victim.process.pid}
    for host in world.hosts.values():
        host.plan.write_text(json.dumps(plan))
    _request(world, case, id)
    assert victim.wait_dead(40 * PATIENCE), f"no process came to {case}"
    # What is still to fail has no plan on a host where that was done with.
    victim.start()
    world.api.settle(120 * PATIENCE)
    for host in world.hosts.values():
        host.plan.unlink(missing_ok=True)
    world.assert_settled(id, "a" if case.is_undone else "b", "error" if case.is_undone else "success", str(case))
    operation = world.operation(case.kind)
    assert operation["state"] == ("failed" if case.fail else "succeeded"), (str(case), operation)
    wait_until(lambda: not world.findings(), facts=lambda: (str(case), world.findings()))
    world.remove(id)


def _request(world: Between, case: BetweenCase, id: str) -> None:
    if case.kind == KINDS[0]:
        world.migrate(id, lock_volume=True)
    else:
        assert world.act(id, "os-retype", new_type="b", migration_policy="on-demand")[0] == 202


def chosen(all_cases: list[BetweenCase], group: int, groups: int) -> list[BetweenCase]:
    """All of this group, where NBDSVC_TEST_KILLS is `all`; else a few, as different as can be."""
    own = all_cases[group::groups]
    return own if os.environ.get("NBDSVC_TEST_KILLS") == "all" else own[:: len(own) // 2]
