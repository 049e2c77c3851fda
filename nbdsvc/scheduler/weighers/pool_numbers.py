"""Weights that are numbers of the pool itself."""

import math

from nbdsvc.scheduler.candidate import Candidate, Request


def capacity(candidate: Candidate, _request: Request) -> float:
    """Bytes that may still be promised; with a multiplier below 0, volumes are packed onto few pools.

    Not a number where the pool has none, whether infinite or unknown, as in Cinder: what knows its room goes first.
    """
    return math.nan if candidate.pool.is_limitless else float(candidate.room)


def allocated_capacity(candidate: Candidate, _request: Request) -> float:
    """Bytes that are promised to volumes; used with a multiplier below 0, to spread volumes by their sizes."""
    return float(candidate.promised)


def volume_number(candidate: Candidate, _request: Request) -> float:
    """Volumes in the pool, as of its last report; used with a multiplier below 0, to spread volumes by their number."""
    return float(candidate.pool.volumes)
