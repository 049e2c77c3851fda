"""Weighs the pools that can take a volume."""

from nbdsvc.scheduler.candidate import Candidate


def weigh(candidate: Candidate) -> tuple[int, str]:
    """More is better: room for promises; of two with the same, the later name, so that the choice can be foretold."""
    return candidate.room, candidate.full_name
