"""A random weight, which is the same for the same seed and pool, so that a choice can be repeated."""

import hashlib

from nbdsvc.scheduler.candidate import Candidate, Request


def chance(candidate: Candidate, request: Request) -> float:
    """A number from 0 to 1, by the request's seed and the pool's name."""
    digest = hashlib.blake2b(f"{request.seed} {candidate.full_name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
