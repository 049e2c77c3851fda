"""Files with a secret, which only their owner may read."""

import os
import stat
from pathlib import Path

from nbdsvc import errors

# Bytes of a file with a key or credentials.
_MOST = 1 << 16
_OTHERS_READ = stat.S_IRWXG | stat.S_IRWXO


def read(setting: str, path: Path) -> bytes:
    """The content. ConfigError, which names the setting, where it cannot be read, others may read it, or it has more than
    64 KiB.
    """
    try:
        with path.open("rb") as file:
            status, content = os.fstat(file.fileno()), file.read(_MOST + 1)
    except OSError as error:
        raise errors.ConfigError(setting=setting, reason=f"{path}: {error.strerror or error}") from error
    for wrong, reason in (
        (status.st_mode & _OTHERS_READ, "others may read it: chmod 600"),
        (len(content) > _MOST, f"it has more than {_MOST} bytes"),
    ):
        if wrong:
            raise errors.ConfigError(setting=setting, reason=f"{path}: {reason}")
    return content
