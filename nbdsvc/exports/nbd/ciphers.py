"""The ciphers of an export with TLS: AES where the processor computes it, which moves four times the bytes.

A pre-shared key belongs to SHA-256 (RFC 8446, 4.2.11), which leaves TLS 1.3 with AES-128-GCM and ChaCha20-Poly1305. GnuTLS
prefers the second, of which a core computes some 0.5 GB a second. nbdkit 1.32 has no option for that, so GnuTLS is given a
file (its manual, "System-wide configuration of the library"): a server without ChaCha20 chooses AES for all its clients.
"""

import os
import re
from functools import cache
from pathlib import Path

# GnuTLS reads the file of this variable in place of its own one.
VARIABLE = "GNUTLS_SYSTEM_PRIORITY_FILE"
_SYSTEM_FILE = Path("/etc/gnutls/config")
_OURS = Path(__file__).with_name("gnutls.conf")
# x86 has flags, ARM has Features.
_AES = re.compile(r"^(flags|Features)\s*:.*\baes\b", re.MULTILINE)


@cache
def environment() -> list[str]:
    """The start of the command of a server with TLS: env and its assignment; empty where GnuTLS chooses as it does.

    So it does without AES in the processor, and where the operator has a policy of their own: the file or the variable.
    """
    if chosen := os.environ.get(VARIABLE):
        return ["env", f"{VARIABLE}={chosen}"]
    has_aes = _AES.search(Path("/proc/cpuinfo").read_text())
    return ["env", f"{VARIABLE}={_OURS}"] if has_aes and not _SYSTEM_FILE.exists() else []
