"""The access mode and the secret that a new attachment gets."""

import secrets

from nbdsvc import errors
from nbdsvc.model.entities import Volume

MODES = ("rw", "ro")
# 256 bits are the key length of the strongest PSK cipher suite.
_KEY_BYTES = 32


def new_secret() -> str:
    """An attachment's secret, as hexadecimal digits."""
    return secrets.token_hex(_KEY_BYTES)


def check_mode(volume: Volume, mode: str) -> None:
    """InvalidInput when `mode` is unknown, or allows writes to a read-only volume."""
    if mode not in MODES:
        raise errors.InvalidInput(field="mode", value=mode, reason="must be rw or ro")
    if volume.readonly and mode != "ro":
        raise errors.InvalidInput(field="mode", value=mode, reason="the volume is read-only")
