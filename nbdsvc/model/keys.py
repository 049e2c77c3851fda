"""What a transport makes of an attachment's secret, and the only way in which it leaves its row."""

import base64
import hashlib
from typing import Any

# What connection_info has in the reply to its connector and nowhere else: not in its row, nor in the journal.
IN_REPLY_ONLY = frozenset({"tls_psk_key", "auth_password"})
# The reference's lengths. 16 characters of base64 are 96 bits, the least that RFC 7143 section 9.2.1 asks of a CHAP
# secret, and the most that some initiators take.
_USER_DIGITS, _PASSWORD_BYTES = 20, 12


def chap_user(secret: str) -> str:
    """Never with "0b" at its beginning, by which LIO takes what follows for base64, and the name without it for another."""
    text = _digest("user", secret).hex()[:_USER_DIGITS]
    return "b0" + text[2:] if text.startswith("0b") else text


def chap_password(secret: str) -> str:
    """Never with "NULL" at its beginning, by which LIO is told to forget a password."""
    text = base64.urlsafe_b64encode(_digest("password", secret)[:_PASSWORD_BYTES]).decode()
    return text.replace("NULL", "null")


def with_secret(info: dict[str, Any], secret: str | None) -> dict[str, Any]:
    """connection_info as its connector is told it."""
    if secret and info.get("tls"):
        return {**info, "tls_psk_key": secret}
    if secret and info.get("auth_method") == "CHAP":
        return {**info, "auth_password": chap_password(secret)}
    return dict(info)


def _digest(purpose: str, secret: str) -> bytes:
    """Different for each purpose, so that the name in every login says nothing of the password."""
    return hashlib.blake2b(purpose.encode(), key=bytes.fromhex(secret)).digest()
