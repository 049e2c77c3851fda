"""The keys of a store: what a chunk is called, and how it is sealed.

Each project has a space of its own in the store, and a key of its own made from the installation's: equal blocks of two
projects are two chunks, so that no project learns from the size or the time of its backups what another one has. The
name of a chunk is a digest of its content under the space's key; without an installation's key anyone who reads the
store can tell equal blocks apart from others, but could read them, too.
"""

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

from nbdsvc import errors, private_file

KEY_BYTES, ID_BYTES, MARK_BYTES = 32, 32, 8
# Bytes of the nonce of AES-GCM (NIST SP 800-38D), and of its tag. Random nonces are good for 2^32 chunks under one key:
# 16 PiB of one project's different blocks.
_NONCE_BYTES, TAG_BYTES = 12, 16
OVERHEAD = _NONCE_BYTES + TAG_BYTES
CLEAR = bytes(MARK_BYTES)


def space_of(project_id: str) -> str:
    """The name of a project's space, which is a part of paths whatever the project is called."""
    return hashlib.blake2b(project_id.encode(), digest_size=16, person=b"nbdsvc-space").hexdigest()


def load_key(path: Path) -> bytes:
    """The key in a file of 64 hexadecimal digits. ConfigError where others may read it, or it is none."""
    try:
        key = bytes.fromhex(private_file.read("backup_key_file", path).decode("ascii").strip())
    except ValueError:
        raise errors.ConfigError(setting="backup_key_file", reason=f"{path}: {_WANTED}") from None
    if len(key) != KEY_BYTES:
        raise errors.ConfigError(setting="backup_key_file", reason=f"{path}: {_WANTED}")
    return key


_WANTED = f"it must have {2 * KEY_BYTES} hexadecimal digits (openssl rand -hex {KEY_BYTES})"


class SpaceKeys:
    """The keys of one space. master: the installation's key; None: nothing is sealed."""

    def __init__(self, master: bytes | None, space: str) -> None:
        self.mark = CLEAR
        """Names the key in what is sealed by it, so that a wrong key is no damage; zeros for none."""
        self._name_key = b"nbdsvc-chunk"
        self._cipher: Any = None
        if master is not None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # only loaded where there is a key

            self.mark = _derive(master, b"mark", space)[:MARK_BYTES]
            self._name_key = _derive(master, b"name", space)
            self._cipher = AESGCM(_derive(master, b"seal", space))

    @property
    def seals(self) -> bool:
        return self._cipher is not None

    def id_of(self, content: bytes | bytearray | memoryview) -> bytes:
        """The id of a chunk: its SHA-256, which lets other threads run and which processors have instructions for (1.4 GB/s
        where BLAKE2b has 0.5), under the space's key.
        """
        return hmac.digest(self._name_key, hashlib.sha256(content).digest(), "sha256")

    def seal(self, content: bytes, bound: bytes) -> bytes:
        """The content, sealed together with what it is `bound` to."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + bytes(self._cipher.encrypt(nonce, content, bound))

    def unseal(self, sealed: bytes, bound: bytes) -> bytes:
        """The reverse. ValueError where it was changed, or is bound to something else."""
        from cryptography.exceptions import InvalidTag

        try:
            return bytes(self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound))
        except (InvalidTag, ValueError):
            raise ValueError("its seal is broken") from None


def _derive(master: bytes, label: bytes, space: str) -> bytes:
    """HKDF's expansion (RFC 5869) of one block; the master key is uniform, so it needs no extraction."""
    return hmac.digest(master, b"nbdsvc backup 1 " + label + b" " + space.encode() + b"\x01", "sha256")
