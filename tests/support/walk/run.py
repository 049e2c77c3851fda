"""Walks: drawn from a seed for so many steps, run again from a list of actions, cut short around what went wrong."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from walk import (  # noqa: F401 - their actions; those of new operations too
    between_hosts,
    bursts,
    check,
    damaging,
    disturbing,
    editing,
    freezing,
    handing_over,
    making,
    moving,
    odd_images,
    old_ways,
    together,
    under_clients,
    using,
)
from walk.choices import ACTIONS
from walk.drawing import Drawing
from walk.world import Violation, World

Plan = list[dict[str, Any]]
# Steps of one sequence, at whose end everything is compared and all volumes are deleted.
SEQUENCE = 50
# Steps after which a simulated fault that no operation has met is taken back.
FAULT_STEPS = 3


@dataclass
class Record:
    """What was done, and what went wrong if anything did."""

    plan: Plan = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    violation: str = ""

    def __str__(self) -> str:
        lines = [f"{number:3} {outcome}" for number, outcome in enumerate(self.outcomes, 1)]
        return "\n".join([*lines, f"    wrong: {self.violation}" if self.violation else "    all is as it should be"])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"violation": self.violation, "plan": self.plan}, indent=1) + "\n")


def walk(world: World, seed: str, steps: int, end: float) -> Record:
    """One sequence from a seed; the monotonic time `end` ends it before its steps do."""
    drawing, record = Drawing(world, seed), Record()
    while len(record.plan) < steps and time.monotonic() < end and not record.violation:
        perform(world, record, drawing.draw())
    return finish(world, record)


def replay(world: World, plan: Plan) -> Record:
    """The same actions again; one that has nothing to pick from is left out."""
    record = Record()
    for action in plan:
        if not record.violation and ACTIONS[action["do"]].needs(world):
            perform(world, record, action)
    return finish(world, record)


def perform(world: World, record: Record, action: dict[str, Any]) -> None:
    """Do one action and check what must hold after each."""
    what = ACTIONS[action["do"]]
    record.plan.append(action)
    world.steps += 1
    world.cancelled = False
    began = time.monotonic()
    said = _guarded(record, lambda: _act(world, what.act, [action[each] for each in what.takes]))
    record.outcomes.append(f"{action['do']}: {said} ({time.monotonic() - began:.1f} s)")
    if world.faulty and world.steps - world.planned_at > FAULT_STEPS:
        world.plan({})


def _act(world: World, act: Callable[..., str], numbers: list[int]) -> str:
    said = act(world, *numbers)
    check.after_step(world)
    return said


def finish(world: World, record: Record) -> Record:
    """The end of a sequence: everything is compared, and all volumes go."""
    if not record.violation:
        _guarded(record, lambda: check.everything(world))
    if not record.violation:
        _guarded(record, lambda: _emptied(world))
    return record


def _emptied(world: World) -> str:
    using.empty(world)
    check.after_step(world)
    return ""


def _guarded(record: Record, act: Callable[[], Any]) -> str:
    """Whatever goes wrong ends the sequence and is reported, the walk's own faults too."""
    try:
        return str(act())
    except Exception as error:
        record.violation = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
        return "wrong"


def shrink(again: Callable[[Plan], Record], failed: Record, seconds: float) -> Record:
    """A shorter walk that still goes wrong, in whatever way: parts are left out, halves first (delta debugging)."""
    end, best, size = time.monotonic() + seconds, failed, max(1, len(failed.plan) // 2)
    while time.monotonic() < end:
        shorter = _without_a_part(again, best.plan, size, end)
        best = shorter or best
        if shorter is None and size == 1:
            break
        size = max(1, min(size if shorter else size // 2, len(best.plan) // 2))
    return best


def _without_a_part(again: Callable[[Plan], Record], plan: Plan, size: int, end: float) -> Record | None:
    for begin in range(0, len(plan) - 1, size):
        if time.monotonic() > end:
            return None
        made = again(plan[:begin] + plan[begin + size :])
        if made.violation:
            return made
    return None
