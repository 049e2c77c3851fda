"""One sequence of actions with times and results; saved as a file that can be run again."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rig.log import log
from rig.machine import administration, disks, invariants, moving  # noqa: F401 - their actions and faults
from rig.machine.choices import ACTIONS, Skipped
from rig.machine.faults import FAULTS
from rig.machine.world import Violation, World

Plan = list[dict[str, Any]]
# Steps between two checks of all that can be checked without a detach.
EXPENSIVE_STEPS = 12


@dataclass
class Step:
    """One step. began: Unix time. outcome: the result, "skipped", or the fault."""

    action: dict[str, Any]
    began: float
    seconds: float = 0.0
    outcome: str = ""
    wrong: bool = False


@dataclass
class Record:
    """A sequence. seed: the run's; 0 for a replay. transport: the one by which hosts got their volumes."""

    seed: int = 0
    transport: str = "nbd"
    steps: list[Step] = field(default_factory=list)
    violation: str = ""

    @property
    def plan(self) -> Plan:
        """The actions that were done, to do them again."""
        return [step.action for step in self.steps if step.outcome != "skipped" and step.action["do"] in ACTIONS]

    def save(self, path: Path) -> None:
        """Write the run as JSON, for `load`. OSError where it cannot be written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(
                {"seed": self.seed, "transport": self.transport, "violation": self.violation, "plan": self.plan},
                indent=1,
            )
            + "\n"
        )

    def dump(self) -> dict[str, Any]:
        """The whole run as JSON values."""
        return asdict(self)


def load(path: Path) -> tuple[str, Plan]:
    """(transport, plan) of a saved run."""
    try:
        saved = json.loads(path.read_text())
        plan, transport = saved["plan"], str(saved["transport"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} is no saved run: {error}") from error
    unknown = {step.get("do") for step in plan} - set(ACTIONS)
    if unknown:
        raise SystemExit(f"{path}: unknown actions: {sorted(map(str, unknown))}")
    return transport, list(plan)


def perform(world: World, record: Record, action: dict[str, Any]) -> bool:
    """Do one action and check the cheap invariants; False after a fault, which is then in the record."""
    what = ACTIONS[action["do"]]
    step = Step(action, time.time())
    try:
        step.outcome = what.act(world, *(action[name] for name in what.takes))
        world.counts.steps += 1
        world.counts.faults += action["do"] in FAULTS
        (invariants.expensive if world.counts.steps % EXPENSIVE_STEPS == 0 else invariants.cheap)(world)
    except Skipped:
        step.outcome = "skipped"
        world.counts.skipped += 1
    except Exception as error:  # every error ends the sequence and is reported, also an error of the rig
        _failed(record, step, error)
    step.seconds = time.time() - step.began
    record.steps.append(step)
    if step.outcome != "skipped":
        log(f"{len(record.steps):3} {action['do']}: {step.outcome[:160]} ({step.seconds:.1f} s)")
    return not step.wrong


def finish(world: World, record: Record) -> bool:
    """Check all invariants at the end of a sequence."""
    step = Step({"do": "check everything"}, time.time())
    try:
        invariants.everything(world)
        step.outcome = "all is as it should be"
    except Exception as error:
        _failed(record, step, error)
    step.seconds = time.time() - step.began
    record.steps.append(step)
    return not step.wrong


def _failed(record: Record, step: Step, error: Exception) -> None:
    text = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
    step.outcome, step.wrong, record.violation = text, True, text
