"""The cases of killing either process while a volume in use goes to another host, and what must be true after each."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from between import Between
from following import KIND, Followed
from killing import BACKWARD, FORWARD
from serving import PATIENCE
from waiting import wait_until

from nbdsvc.operation_types import TYPES_BY_NAME

STEPS = [each.name for each in TYPES_BY_NAME[KIND].steps]
# Before the client waits, while it does, and behind the switch.
FAILING = ("mirror", "export", "finish")


@dataclass(frozen=True)
class InUseCase:
    """fail: the step after which the operation fails; None: it does not. victim: the process that dies at the moment."""

    moment: str
    step: str
    fail: str | None
    victim: str

    def __str__(self) -> str:
        failing = f", failing after {self.fail}" if self.fail else ""
        return f"{self.moment} {self.step}{failing}: {self.victim} dies"

    @property
    def is_undone(self) -> bool:
        return self.fail is not None and STEPS.index(self.fail) < STEPS.index("switch")


def in_use_cases() -> list[InUseCase]:
    """Every boundary of every step and every undo, on each side; what fails after the switch goes forward."""
    found = []
    for victim in ("a", "b"):
        found += [InUseCase(moment, step, None, victim) for step in STEPS for moment in FORWARD]
        for fail in FAILING:
            undone = STEPS[: STEPS.index(fail) + 1]
            found += [InUseCase(moment, step, fail, victim) for step in undone for moment in BACKWARD]
    return found


def few(all_cases: list[InUseCase]) -> list[InUseCase]:
    """All, where NBDSVC_TEST_KILLS is `all`; else those in which the client waits."""
    if os.environ.get("NBDSVC_TEST_KILLS") == "all":
        return all_cases
    return [
        InUseCase("after do", "leave", None, "a"),
        InUseCase("before undo", "leave", "export", "a"),
        InUseCase("after do", "export", None, "b"),
        InUseCase("after do", "switch", None, "b"),
    ]


def run_in_use_case(world: Between, folder: Path, case: InUseCase) -> float:
    """Migrate a volume under its client, let a process die where the case says, and start it again: its client goes on, and all
    that was acknowledged is at one place. Returns the longest request in seconds.
    """
    used, victim = Followed(world, folder).start(), world.hosts[case.victim]
    assert victim.process
    plan = {"kind": KIND, "moment": case.moment, "step": case.step, "fail": case.fail, "pid": victim.process.pid}
    for host in world.hosts.values():
        host.plan.write_text(json.dumps(plan))
    world.migrate(used.id)
    assert victim.wait_dead(40 * PATIENCE), f"no process came to {case}"
    victim.start()
    world.api.settle(120 * PATIENCE)
    for host in world.hosts.values():
        host.plan.unlink(missing_ok=True)
    operation = world.operation(KIND)
    assert operation["state"] == ("failed" if case.fail else "succeeded"), (str(case), operation)
    used.check("a" if case.is_undone else "b", "error" if case.is_undone else "success")
    wait_until(lambda: not world.findings(), facts=lambda: (str(case), world.findings()))
    used.end()
    return used.worst
