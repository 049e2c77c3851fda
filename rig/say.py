"""What the rig tells the person who waits for it."""

import sys
import time

_BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[rig {time.monotonic() - _BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)
