"""The key of a transfer: shown once, kept as a salted hash, compared in constant time."""

import hashlib
import hmac
import secrets

# 128 bits: beyond guessing, whatever the hash costs.
_KEY_BYTES = _SALT_BYTES = 16
# 2 MiB and some milliseconds a try: a key beyond guessing needs no dear hash, but one cheap enough for many tries at once
# not to take the memory of the service.
_COST = {"n": 2**11, "r": 8, "p": 1}


def new_key() -> tuple[str, str, str]:
    """A fresh key, its salt and its hash, each in hexadecimal digits. The rows keep the last two only."""
    key, salt = secrets.token_hex(_KEY_BYTES), secrets.token_hex(_SALT_BYTES)
    return key, salt, _digest(key, salt)


def is_key(given: str, salt: str, expected: str) -> bool:
    """Whether this is the key of that hash; the time that it takes says nothing of how much of it is right."""
    return hmac.compare_digest(_digest(given, salt), expected)


def _digest(key: str, salt: str) -> str:
    return hashlib.scrypt(key.encode(), salt=bytes.fromhex(salt), dklen=32, **_COST).hex()
