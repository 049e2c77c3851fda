"""Filters pools that can take a volume: a table of filters, each with a readable reason."""

from collections.abc import Callable
from dataclasses import dataclass

from nbdsvc.scheduler import extra_specs
from nbdsvc.scheduler.candidate import Candidate, Request


@dataclass(frozen=True)
class Filter:
    """`passes`: whether the pool can take it. `reason`: what is missing where none does."""

    name: str
    passes: Callable[[Candidate, Request], bool]
    reason: Callable[[Request], str]


def _fits_type(candidate: Candidate, request: Request) -> bool:
    return not extra_specs.unmet(request.extra_specs, candidate.capabilities)


def _allows_attachments(candidate: Candidate, request: Request) -> bool:
    return not request.multiattach or bool(candidate.capabilities.get("multiattach", True))


def _demands(request: Request) -> str:
    wanted = extra_specs.demands(request.extra_specs)
    return "no backend has what the volume type asks for: " + ", ".join(f"{k} = {v}" for k, v in wanted.items())


# Room comes last and is not here: where only that is lacking, the error says how much there is.
FILTERS = (
    Filter(
        "available",
        lambda candidate, request: candidate.up and candidate.enabled and candidate.zone == request.zone,
        lambda request: f"no storage host in zone {request.zone} is up and takes new volumes",
    ),
    Filter("type", _fits_type, _demands),
    Filter("multiattach", _allows_attachments, lambda _request: "no backend allows several attachments of a volume"),
)
