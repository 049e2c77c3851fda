"""CHAP credentials, made of an attachment's secret."""

import base64
import hashlib

# Cinder's lengths in characters. 16 characters of base64 are 96 bits, the minimum that RFC 7143 section 9.2.1 requires
# of a CHAP secret, and the longest secret that some initiators accept.
_USER_DIGITS, _PASSWORD_BYTES = 20, 12


def user(secret: str) -> str:
    """The CHAP user name. It never begins with "0b", because LIO would decode the rest as base64."""
    text = _digest("user", secret).hex()[:_USER_DIGITS]
    return "b0" + text[2:] if text.startswith("0b") else text


def password(secret: str) -> str:
    """The CHAP password of 16 characters. It never begins with "NULL", by which LIO deletes a password."""
    text = base64.urlsafe_b64encode(_digest("password", secret)[:_PASSWORD_BYTES]).decode()
    return text.replace("NULL", "null")


def _digest(purpose: str, secret: str) -> bytes:
    """The secret's digest for one purpose: the user name, which a login shows, reveals nothing of the password."""
    return hashlib.blake2b(purpose.encode(), key=bytes.fromhex(secret)).digest()
