"""Weights that are numbers of the pool itself."""

import math

from nbdsvc.scheduler.candidate import Candidate, Request


def capacity(candidate: Candidate, _request: Request) -> float:
    """Bytes that may still be promised; with a multiplier below 0, volumes are packed onto few pools.

    NaN for a pool that reports no number (infinite or unknown), as in Cinder: pools with a known capacity come first.
    """
    return math.nan if candidate.pool.is_limitless else float(candidate.room)


def allocated_capacity(candidate: Candidate, _request: Request) -> float:
    """Bytes promised to volumes; with a multiplier below 0, volumes are spread by their sizes."""
    return float(candidate.promised)


def volume_number(candidate: Candidate, _request: Request) -> float:
    """Volumes in the pool at its last report; with a multiplier below 0, volumes are spread by their number."""
    return float(candidate.pool.volumes)
