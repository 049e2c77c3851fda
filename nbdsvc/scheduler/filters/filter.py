"""The type of a filter."""

from collections.abc import Callable
from dataclasses import dataclass

from nbdsvc.scheduler.candidate import Candidate, Request


@dataclass(frozen=True)
class Filter:
    """A filter. name: Cinder's. lacks: what the pool lacks for this volume, with the numbers; None if nothing."""

    name: str
    lacks: Callable[[Candidate, Request], str | None]
