"""Progress of the rig on standard error, with the seconds since its start."""

import sys
import time

_BEGAN = time.monotonic()


def log(text: str) -> None:
    """Print one line."""
    print(f"[rig {time.monotonic() - _BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)
