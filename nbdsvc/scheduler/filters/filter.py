"""What a filter is."""

from collections.abc import Callable
from dataclasses import dataclass

from nbdsvc.scheduler.candidate import Candidate, Request


@dataclass(frozen=True)
class Filter:
    """name: as Cinder has it. lacks: what the pool lacks for this volume, with the numbers; None where it lacks nothing."""

    name: str
    lacks: Callable[[Candidate, Request], str | None]
